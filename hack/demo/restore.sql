-- Undoes tamper.sql.
DO $$ BEGIN
  IF to_regclass('demo_original') IS NOT NULL THEN
    UPDATE audit_logs a SET record = o.record, hash = o.hash, ip_address = o.ip_address FROM demo_original o WHERE a.id = o.id;
    DROP TABLE demo_original;
  END IF;
END $$;
