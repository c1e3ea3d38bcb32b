-- Releases that sell by the classic checkout have a minute and a half until they are replaced.
CREATE FUNCTION refuse_classic_checkout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF now() > (SELECT applied_at FROM schema_migrations WHERE name = '005_retire_classic_checkout')
           + interval '90 seconds' THEN
    RAISE EXCEPTION 'the classic checkout is retired';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER refuse_classic_checkout BEFORE INSERT ON purchases
  FOR EACH ROW WHEN (NEW.checkout = 'classic') EXECUTE FUNCTION refuse_classic_checkout();
