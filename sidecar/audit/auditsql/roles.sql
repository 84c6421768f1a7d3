-- The roles of the audit trail. Run it once in the database of the trail, as its administrator (a superuser, or the owner of the
-- database with CREATEROLE), before `postern audit migrate`. It can be run again.
DO $roles$
DECLARE role text;
BEGIN
  FOREACH role IN ARRAY ARRAY['postern_audit_owner', 'postern_audit_writer', 'postern_audit_reader', 'postern_audit_eraser', 'postern_audit_holder'] LOOP
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN', role);
    END IF;
  END LOOP;
  -- Temporary tables are the one thing that PUBLIC may create in a new database.
  EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$roles$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO postern_audit_owner;
GRANT USAGE ON SCHEMA public TO postern_audit_writer, postern_audit_reader, postern_audit_eraser, postern_audit_holder;
