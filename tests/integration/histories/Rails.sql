-- Made by `make histories` with activerecord 6.1.7.10
-- == clean
CREATE TABLE public.ar_internal_metadata (
    key character varying NOT NULL,
    value character varying,
    created_at timestamp(6) without time zone NOT NULL,
    updated_at timestamp(6) without time zone NOT NULL
);
CREATE TABLE public.schema_migrations (
    version character varying NOT NULL
);
INSERT INTO public.ar_internal_metadata VALUES ('environment', 'default_env', '2026-12-01 12:56:10.150092', '2026-12-01 12:56:10.150092');
INSERT INTO public.schema_migrations VALUES ('20240101000000');
INSERT INTO public.schema_migrations VALUES ('20240102000000');
ALTER TABLE ONLY public.ar_internal_metadata
    ADD CONSTRAINT ar_internal_metadata_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);
-- == newer
CREATE TABLE public.ar_internal_metadata (
    key character varying NOT NULL,
    value character varying,
    created_at timestamp(6) without time zone NOT NULL,
    updated_at timestamp(6) without time zone NOT NULL
);
CREATE TABLE public.schema_migrations (
    version character varying NOT NULL
);
INSERT INTO public.ar_internal_metadata VALUES ('environment', 'default_env', '2026-12-01 12:56:10.150092', '2026-12-01 12:56:10.150092');
INSERT INTO public.schema_migrations VALUES ('20240101000000');
INSERT INTO public.schema_migrations VALUES ('20240102000000');
INSERT INTO public.schema_migrations VALUES ('20240103000000');
ALTER TABLE ONLY public.ar_internal_metadata
    ADD CONSTRAINT ar_internal_metadata_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);
-- == dirty
CREATE TABLE public.ar_internal_metadata (
    key character varying NOT NULL,
    value character varying,
    created_at timestamp(6) without time zone NOT NULL,
    updated_at timestamp(6) without time zone NOT NULL
);
CREATE TABLE public.schema_migrations (
    version character varying NOT NULL
);
INSERT INTO public.ar_internal_metadata VALUES ('environment', 'default_env', '2026-12-01 12:56:10.150092', '2026-12-01 12:56:10.150092');
INSERT INTO public.schema_migrations VALUES ('20240101000000');
INSERT INTO public.schema_migrations VALUES ('20240102000000');
INSERT INTO public.schema_migrations VALUES ('20240103000000');
ALTER TABLE ONLY public.ar_internal_metadata
    ADD CONSTRAINT ar_internal_metadata_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);
