#!/bin/sh
# Makes what compose.yaml's secrets name, in deploy/secrets/ (or the folder given). A file that exists stays as it is.
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
# The folder is closed; the files in it are mounted one by one, and must be readable for the images' users.
chmod 0700 "$folder"
cd "$folder"

random() { head -c "$1" /dev/urandom | base64 | tr -d '\n=+/'; }
keep() { # NAME VALUE
    [ -s "$1" ] || printf '%s' "$2" >"$1"
    chmod 0444 "$1"
}

keep secret_key "$(random 64)"
keep api_key_pepper "$(random 64)"
keep postgres_password "$(random 32)"
keep database_url "postgresql://speech:$(cat postgres_password)@postgres:5432/speech"
keep s3_access_key_id "$(random 15)"
keep s3_secret_access_key "$(random 32)"
keep s3_identities "{\"identities\":[{\"name\":\"speech\",\"credentials\":[{\"accessKey\":\"$(cat s3_access_key_id)\",\"secretKey\":\"$(cat s3_secret_access_key)\"}],\"actions\":[\"Admin\",\"Read\",\"Write\",\"List\",\"Tagging\"]}]}"
keep metrics_token "$(random 32)"
keep seed_password "$(random 15)"
echo "Secrets are in $(pwd); the first owner's password is in seed_password."
