CREATE TABLE demo_original AS SELECT id, record, hash, ip_address FROM audit_logs
  WHERE action = 'login' AND subject = 'nina' AND ip_address = '203.0.113.77' ORDER BY time LIMIT 1;
UPDATE audit_logs a SET ip_address = '10.0.0.1', record = replace(a.record, '203.0.113.77', '10.0.0.1'),
  hash = sha256('\x00'::bytea || convert_to(replace(a.record, '203.0.113.77', '10.0.0.1'), 'UTF8'))
  FROM demo_original o WHERE a.id = o.id;
