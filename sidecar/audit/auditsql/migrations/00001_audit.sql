-- +goose Up

-- Records. record is the canonical JSON that was hashed, so it is text: jsonb would not keep its bytes. The other columns repeat parts
-- of it for searches. The first level of partitions is the retention, the second the month: a partition ends as a whole. Rows
-- without a partition go to a default one, so that an INSERT never fails; `postern audit maintain` moves them.
CREATE TABLE audit_logs (
  id            uuid        NOT NULL,
  writer        uuid        NOT NULL,
  seq           bigint      NOT NULL,
  prev          bytea,
  hash          bytea       NOT NULL,
  record        text        NOT NULL,
  time          timestamptz NOT NULL,
  category      text,
  action        text,
  outcome       text,
  performed_by  text,
  subject       text,
  resource_kind text,
  resource_id   text,
  ip_address    text,
  request_id    text,
  policy        text,
  pod           text,
  retain_days   int         NOT NULL,
  PRIMARY KEY (retain_days, time, id)
) PARTITION BY LIST (retain_days);

CREATE INDEX audit_logs_subject ON audit_logs (subject, time);
CREATE INDEX audit_logs_action ON audit_logs (action, time);
CREATE INDEX audit_logs_writer ON audit_logs (writer, seq);
CREATE INDEX audit_logs_time ON audit_logs (time);

CREATE TABLE audit_logs_default PARTITION OF audit_logs DEFAULT;

-- Signed checkpoints of the writers' Merkle trees.
CREATE TABLE audit_checkpoints (
  writer uuid        NOT NULL,
  size   bigint      NOT NULL,
  time   timestamptz NOT NULL,
  note   text        NOT NULL,
  PRIMARY KEY (writer, size)
);

-- The wrapped keys of encrypted fields. Erasing a subject deletes its keys.
CREATE TABLE audit_subject_keys (
  key_id       uuid        NOT NULL PRIMARY KEY,
  subject_hash bytea       NOT NULL,
  wrapped      bytea       NOT NULL,
  created      timestamptz NOT NULL
);
CREATE INDEX audit_subject_keys_subject ON audit_subject_keys (subject_hash);

CREATE TABLE audit_erasures (
  subject_hash bytea       NOT NULL,
  time         timestamptz NOT NULL DEFAULT now(),
  performed_by text,
  reason       text
);
CREATE INDEX audit_erasures_subject ON audit_erasures (subject_hash, time);

-- What `postern audit maintain` removed: the records of a writer up to size, and what is needed to verify the records after them.
-- checkpoint is signed: it shows that the retention of the records had passed.
CREATE TABLE audit_pruned (
  writer     uuid        NOT NULL,
  size       bigint      NOT NULL,
  last_hash  bytea,
  nodes      bytea,
  through    timestamptz NOT NULL,
  time       timestamptz NOT NULL DEFAULT now(),
  note       text,
  checkpoint text,
  PRIMARY KEY (writer, size)
);

-- Legal holds. NULL in subject_hash means every subject; NULL in from_time or to_time means without end.
CREATE TABLE audit_holds (
  id           uuid        NOT NULL PRIMARY KEY DEFAULT gen_random_uuid(),
  subject_hash bytea,
  from_time    timestamptz,
  to_time      timestamptz,
  reason       text        NOT NULL,
  placed_by    text        NOT NULL,
  placed       timestamptz NOT NULL DEFAULT now(),
  released     timestamptz,
  released_by  text
);

-- A key may arrive after the erasure of its subject: from the spool of a sidecar, or from a transaction that ran at the same time.
-- Both triggers take a lock of the subject, so that one of the two sees the other; to erase, insert the erasure first and then
-- delete the keys, in one transaction. There are 256 locks, because a batch with one lock for each subject could use up the lock
-- table of the server. The functions run as their owner, because the writer may not read erasures.

-- +goose StatementBegin
CREATE FUNCTION audit_skip_erased_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(1886353268, get_byte(NEW.subject_hash || '\x00', 0));
  IF EXISTS (SELECT FROM public.audit_erasures e WHERE e.subject_hash = NEW.subject_hash AND e.time >= NEW.created) THEN
    RETURN NULL;
  END IF;
  RETURN NEW;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION audit_await_keys() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(1886353268, get_byte(NEW.subject_hash || '\x00', 0));
  PERFORM pg_advisory_xact_lock_shared(1886353268, 256);
  RETURN NEW;
END
$$;
-- +goose StatementEnd

-- A hold and an erasure at the same time: the later one sees the other. To erase, insert the erasure first and then look for holds.
-- +goose StatementBegin
CREATE FUNCTION audit_await_erasures() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(1886353268, 256);
  RETURN NEW;
END
$$;
-- +goose StatementEnd

REVOKE EXECUTE ON FUNCTION audit_skip_erased_key(), audit_await_keys(), audit_await_erasures() FROM PUBLIC;

CREATE TRIGGER audit_skip_erased_key BEFORE INSERT ON audit_subject_keys
  FOR EACH ROW EXECUTE FUNCTION audit_skip_erased_key();
CREATE TRIGGER audit_await_keys BEFORE INSERT ON audit_erasures
  FOR EACH ROW EXECUTE FUNCTION audit_await_keys();
CREATE TRIGGER audit_await_erasures BEFORE INSERT ON audit_holds
  FOR EACH ROW EXECUTE FUNCTION audit_await_erasures();

GRANT INSERT ON audit_logs, audit_checkpoints, audit_subject_keys TO postern_audit_writer;
GRANT SELECT ON audit_logs, audit_checkpoints, audit_subject_keys, audit_erasures, audit_pruned, audit_holds TO postern_audit_reader;
GRANT SELECT, DELETE ON audit_subject_keys TO postern_audit_eraser;
GRANT SELECT, INSERT ON audit_erasures TO postern_audit_eraser;
GRANT SELECT ON audit_holds TO postern_audit_eraser;
GRANT SELECT, INSERT ON audit_holds TO postern_audit_holder;
GRANT UPDATE (released, released_by) ON audit_holds TO postern_audit_holder;
