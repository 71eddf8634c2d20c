"""Signing in with an organisation's own OpenID provider: authorization code, PKCE, state and nonce.

`provider` talks to it, `identity` judges what it says, `services` settles who that is here.

A session that began so acts in that organisation alone: what one organisation's provider says binds no other, whose
members may have the same addresses.
"""
