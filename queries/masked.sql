-- How do visits get to the analysts without the people who made them?
--
-- Names are left out; addresses of e-mail become a pseudonym (the same person has the same one, but without the salt nobody can
-- tell whose it is) and a domain; the last part of an IP address and the day of birth are cut off. The salt is a parameter, so that it
-- stands in no file. The topic "visits" can then have a short retention, and "visits-masked" a long one.
--
--   vatic produce visits queries/masked/input.jsonl
--   vatic run --until-end --param salt=a-secret queries/masked.sql
--   vatic consume visits-masked

CREATE TABLE visits (id BIGINT, name VARCHAR, email VARCHAR, ip VARCHAR, born DATE, page VARCHAR, seconds INT)
WITH (connector = 'kafka', topic = 'visits', format = 'json');

CREATE TABLE masked WITH (connector = 'kafka', topic = 'visits-masked', format = 'json') AS
SELECT id,
       encode(sha256($salt || lower(email)), 'hex') AS person,
       split_part(email, '@', 2) AS domain,
       regexp_replace(ip, '[0-9]+$', '0') AS network,
       CAST(date_part('year', born) AS INT) AS born,
       page, seconds
FROM visits;
