-- Made by `make histories` with liquibase-maven-plugin 4.31.1
-- == clean
CREATE TABLE public.databasechangelog (
    id character varying(255) NOT NULL,
    author character varying(255) NOT NULL,
    filename character varying(255) NOT NULL,
    dateexecuted timestamp without time zone NOT NULL,
    orderexecuted integer NOT NULL,
    exectype character varying(10) NOT NULL,
    md5sum character varying(35),
    description character varying(255),
    comments character varying(255),
    tag character varying(255),
    liquibase character varying(20),
    contexts character varying(255),
    labels character varying(255),
    deployment_id character varying(10)
);
CREATE TABLE public.databasechangeloglock (
    id integer NOT NULL,
    locked boolean NOT NULL,
    lockgranted timestamp without time zone,
    lockedby character varying(255)
);
INSERT INTO public.databasechangelog VALUES ('tickets', 'shop', 'changelog.sql', '2026-12-01 12:54:07.677903', 1, 'EXECUTED', '9:c36f0303bd05aa2ad7e3c8e5d98af038', 'sql', '', NULL, '4.31.1', NULL, NULL, '6129560897');
INSERT INTO public.databasechangelog VALUES ('seats', 'shop', 'changelog.sql', '2026-12-01 12:54:08.485679', 2, 'EXECUTED', '9:996c807b2048cf9c48848c5890ee9d23', 'sql', '', NULL, '4.31.1', NULL, NULL, '6129560897');
INSERT INTO public.databasechangeloglock VALUES (1, false, NULL, NULL);
ALTER TABLE ONLY public.databasechangeloglock
    ADD CONSTRAINT databasechangeloglock_pkey PRIMARY KEY (id);
-- == newer
CREATE TABLE public.databasechangelog (
    id character varying(255) NOT NULL,
    author character varying(255) NOT NULL,
    filename character varying(255) NOT NULL,
    dateexecuted timestamp without time zone NOT NULL,
    orderexecuted integer NOT NULL,
    exectype character varying(10) NOT NULL,
    md5sum character varying(35),
    description character varying(255),
    comments character varying(255),
    tag character varying(255),
    liquibase character varying(20),
    contexts character varying(255),
    labels character varying(255),
    deployment_id character varying(10)
);
CREATE TABLE public.databasechangeloglock (
    id integer NOT NULL,
    locked boolean NOT NULL,
    lockgranted timestamp without time zone,
    lockedby character varying(255)
);
INSERT INTO public.databasechangelog VALUES ('tickets', 'shop', 'changelog.sql', '2026-12-01 12:54:07.677903', 1, 'EXECUTED', '9:c36f0303bd05aa2ad7e3c8e5d98af038', 'sql', '', NULL, '4.31.1', NULL, NULL, '6129560897');
INSERT INTO public.databasechangelog VALUES ('seats', 'shop', 'changelog.sql', '2026-12-01 12:54:08.485679', 2, 'EXECUTED', '9:996c807b2048cf9c48848c5890ee9d23', 'sql', '', NULL, '4.31.1', NULL, NULL, '6129560897');
INSERT INTO public.databasechangelog VALUES ('prices', 'shop', 'changelog.sql', '2026-12-01 12:56:27.429245', 3, 'EXECUTED', '9:8a08363b64a67ba40bf6811e5c1012fc', 'sql', '', NULL, '4.31.1', NULL, NULL, '6129727559');
INSERT INTO public.databasechangeloglock VALUES (1, false, NULL, NULL);
ALTER TABLE ONLY public.databasechangeloglock
    ADD CONSTRAINT databasechangeloglock_pkey PRIMARY KEY (id);
-- == dirty
CREATE TABLE public.databasechangelog (
    id character varying(255) NOT NULL,
    author character varying(255) NOT NULL,
    filename character varying(255) NOT NULL,
    dateexecuted timestamp without time zone NOT NULL,
    orderexecuted integer NOT NULL,
    exectype character varying(10) NOT NULL,
    md5sum character varying(35),
    description character varying(255),
    comments character varying(255),
    tag character varying(255),
    liquibase character varying(20),
    contexts character varying(255),
    labels character varying(255),
    deployment_id character varying(10)
);
CREATE TABLE public.databasechangeloglock (
    id integer NOT NULL,
    locked boolean NOT NULL,
    lockgranted timestamp without time zone,
    lockedby character varying(255)
);
INSERT INTO public.databasechangelog VALUES ('tickets', 'shop', 'changelog.sql', '2026-12-01 12:54:07.677903', 1, 'EXECUTED', '9:c36f0303bd05aa2ad7e3c8e5d98af038', 'sql', '', NULL, '4.31.1', NULL, NULL, '6129560897');
INSERT INTO public.databasechangelog VALUES ('seats', 'shop', 'changelog.sql', '2026-12-01 12:54:08.485679', 2, 'EXECUTED', '9:996c807b2048cf9c48848c5890ee9d23', 'sql', '', NULL, '4.31.1', NULL, NULL, '6129560897');
INSERT INTO public.databasechangelog VALUES ('prices', 'shop', 'changelog.sql', '2026-12-01 12:56:27.429245', 3, 'EXECUTED', '9:8a08363b64a67ba40bf6811e5c1012fc', 'sql', '', NULL, '4.31.1', NULL, NULL, '6129727559');
INSERT INTO public.databasechangeloglock VALUES (1, true, '2026-12-01 12:56:47.506246', 'lab (192.0.2.1)');
ALTER TABLE ONLY public.databasechangeloglock
    ADD CONSTRAINT databasechangeloglock_pkey PRIMARY KEY (id);
