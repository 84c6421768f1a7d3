-- The users of the trail's database: the owner of the tables, an auditor who may only read, and Vault, which makes accounts for sidecars.
SELECT format('CREATE ROLE %I LOGIN', name) FROM unnest(ARRAY['owner', 'auditor', 'vault']) AS name
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
SET client_min_messages = warning;
GRANT postern_audit_owner TO owner;
GRANT postern_audit_reader TO auditor;
ALTER ROLE vault CREATEROLE;
GRANT postern_audit_writer TO vault WITH ADMIN OPTION;
