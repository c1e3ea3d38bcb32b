-- Made by `make histories` with node-pg-migrate 8.0.4
-- == clean
CREATE TABLE public.pgmigrations (
    id integer NOT NULL,
    name character varying(255) NOT NULL,
    run_on timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.pgmigrations_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.pgmigrations_id_seq OWNED BY public.pgmigrations.id;
ALTER TABLE ONLY public.pgmigrations ALTER COLUMN id SET DEFAULT nextval('public.pgmigrations_id_seq'::regclass);
INSERT INTO public.pgmigrations VALUES (1, '1700000000000_tickets', '2026-12-01 12:40:21.605615');
INSERT INTO public.pgmigrations VALUES (2, '1700000000001_seats', '2026-12-01 12:40:21.605615');
SELECT pg_catalog.setval('public.pgmigrations_id_seq', 2, true);
ALTER TABLE ONLY public.pgmigrations
    ADD CONSTRAINT pgmigrations_pkey PRIMARY KEY (id);
-- == newer
CREATE TABLE public.pgmigrations (
    id integer NOT NULL,
    name character varying(255) NOT NULL,
    run_on timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.pgmigrations_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.pgmigrations_id_seq OWNED BY public.pgmigrations.id;
ALTER TABLE ONLY public.pgmigrations ALTER COLUMN id SET DEFAULT nextval('public.pgmigrations_id_seq'::regclass);
INSERT INTO public.pgmigrations VALUES (1, '1700000000000_tickets', '2026-12-01 12:40:21.605615');
INSERT INTO public.pgmigrations VALUES (2, '1700000000001_seats', '2026-12-01 12:40:21.605615');
INSERT INTO public.pgmigrations VALUES (3, '1700000000002_prices', '2026-12-01 12:41:55.481978');
SELECT pg_catalog.setval('public.pgmigrations_id_seq', 3, true);
ALTER TABLE ONLY public.pgmigrations
    ADD CONSTRAINT pgmigrations_pkey PRIMARY KEY (id);
-- == dirty
CREATE TABLE public.pgmigrations (
    id integer NOT NULL,
    name character varying(255) NOT NULL,
    run_on timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.pgmigrations_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.pgmigrations_id_seq OWNED BY public.pgmigrations.id;
ALTER TABLE ONLY public.pgmigrations ALTER COLUMN id SET DEFAULT nextval('public.pgmigrations_id_seq'::regclass);
INSERT INTO public.pgmigrations VALUES (1, '1700000000000_tickets', '2026-12-01 12:40:21.605615');
INSERT INTO public.pgmigrations VALUES (2, '1700000000001_seats', '2026-12-01 12:40:21.605615');
INSERT INTO public.pgmigrations VALUES (3, '1700000000002_prices', '2026-12-01 12:41:55.481978');
SELECT pg_catalog.setval('public.pgmigrations_id_seq', 3, true);
ALTER TABLE ONLY public.pgmigrations
    ADD CONSTRAINT pgmigrations_pkey PRIMARY KEY (id);
