-- Made by `make histories` with alembic 1.20.1
-- == clean
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
INSERT INTO public.alembic_version VALUES ('2b3c4d5e6f7a');
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
-- == newer
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
INSERT INTO public.alembic_version VALUES ('3c4d5e6f7a8b');
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
-- == dirty
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
INSERT INTO public.alembic_version VALUES ('3c4d5e6f7a8b');
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
