from django.db import migrations, models

CREATE = """
-- Requests read an organisation's row of defaults with their credential, and ask for lexicons and voices' defaults only
-- where it says that there are any. It says so itself, each time it is written; whoever adds or removes one writes it.
-- The row is locked before the trigger looks, so that of two who do so at the same time the later one sees both.
CREATE FUNCTION tts_fill_speech_flags() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.has_default_lexicons := EXISTS (
        SELECT 1 FROM tts_pronunciationlexicon WHERE organization_id = NEW.organization_id AND is_default);
    NEW.has_voice_defaults := EXISTS (
        SELECT 1 FROM tts_voicedefaults WHERE organization_id = NEW.organization_id);
    RETURN NEW;
END
$$;
CREATE TRIGGER tts_speech_flags BEFORE INSERT OR UPDATE ON tts_speechdefaults
    FOR EACH ROW EXECUTE FUNCTION tts_fill_speech_flags();

CREATE FUNCTION tts_touch_speech_defaults() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN  -- the organisation itself may be going
        UPDATE tts_speechdefaults SET voice = voice WHERE organization_id = OLD.organization_id;
    ELSE
        INSERT INTO tts_speechdefaults (id, created_at, organization_id, voice, language, format)
        VALUES (gen_random_uuid(), now(), NEW.organization_id, '', '', '')
        ON CONFLICT (organization_id) DO UPDATE SET voice = tts_speechdefaults.voice;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER tts_default_lexicon_added AFTER INSERT ON tts_pronunciationlexicon
    FOR EACH ROW WHEN (NEW.is_default) EXECUTE FUNCTION tts_touch_speech_defaults();
CREATE TRIGGER tts_default_lexicon_changed AFTER UPDATE ON tts_pronunciationlexicon
    FOR EACH ROW WHEN (OLD.is_default <> NEW.is_default) EXECUTE FUNCTION tts_touch_speech_defaults();
CREATE TRIGGER tts_default_lexicon_deleted AFTER DELETE ON tts_pronunciationlexicon
    FOR EACH ROW WHEN (OLD.is_default) EXECUTE FUNCTION tts_touch_speech_defaults();
CREATE TRIGGER tts_voice_defaults_changed AFTER INSERT OR DELETE ON tts_voicedefaults
    FOR EACH ROW EXECUTE FUNCTION tts_touch_speech_defaults();

INSERT INTO tts_speechdefaults (id, created_at, organization_id, voice, language, format)
SELECT gen_random_uuid(), now(), organization_id, '', '', '' FROM (
    SELECT organization_id FROM tts_pronunciationlexicon WHERE is_default
    UNION SELECT organization_id FROM tts_voicedefaults
) AS those_with_any
ON CONFLICT (organization_id) DO UPDATE SET voice = tts_speechdefaults.voice;
"""
DROP = """
DROP TRIGGER tts_voice_defaults_changed ON tts_voicedefaults;
DROP TRIGGER tts_default_lexicon_deleted ON tts_pronunciationlexicon;
DROP TRIGGER tts_default_lexicon_changed ON tts_pronunciationlexicon;
DROP TRIGGER tts_default_lexicon_added ON tts_pronunciationlexicon;
DROP FUNCTION tts_touch_speech_defaults();
DROP TRIGGER tts_speech_flags ON tts_speechdefaults;
DROP FUNCTION tts_fill_speech_flags();
"""


class Migration(migrations.Migration):
    """Whether an organisation has default lexicons and voices' defaults is known from its row of defaults."""

    dependencies = [
        ("tts", "0006_speech_defaults"),
    ]

    operations = [
        migrations.AddField(
            model_name="speechdefaults",
            name="has_default_lexicons",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            model_name="speechdefaults",
            name="has_voice_defaults",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.RunSQL(CREATE, DROP),
    ]
