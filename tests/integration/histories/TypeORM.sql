-- Made by `make histories` with typeorm 0.3.31
-- == clean
CREATE TABLE public.migrations (
    id integer NOT NULL,
    "timestamp" bigint NOT NULL,
    name character varying NOT NULL
);
CREATE SEQUENCE public.migrations_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.migrations_id_seq OWNED BY public.migrations.id;
ALTER TABLE ONLY public.migrations ALTER COLUMN id SET DEFAULT nextval('public.migrations_id_seq'::regclass);
INSERT INTO public.migrations VALUES (1, 1700000000000, 'Tickets1700000000000');
INSERT INTO public.migrations VALUES (2, 1700000000001, 'Seats1700000000001');
SELECT pg_catalog.setval('public.migrations_id_seq', 2, true);
ALTER TABLE ONLY public.migrations
    ADD CONSTRAINT "PK_8c82d7f526340ab734260ea46be" PRIMARY KEY (id);
-- == newer
CREATE TABLE public.migrations (
    id integer NOT NULL,
    "timestamp" bigint NOT NULL,
    name character varying NOT NULL
);
CREATE SEQUENCE public.migrations_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.migrations_id_seq OWNED BY public.migrations.id;
ALTER TABLE ONLY public.migrations ALTER COLUMN id SET DEFAULT nextval('public.migrations_id_seq'::regclass);
INSERT INTO public.migrations VALUES (1, 1700000000000, 'Tickets1700000000000');
INSERT INTO public.migrations VALUES (2, 1700000000001, 'Seats1700000000001');
INSERT INTO public.migrations VALUES (3, 1700000000002, 'Prices1700000000002');
SELECT pg_catalog.setval('public.migrations_id_seq', 3, true);
ALTER TABLE ONLY public.migrations
    ADD CONSTRAINT "PK_8c82d7f526340ab734260ea46be" PRIMARY KEY (id);
-- == dirty
CREATE TABLE public.migrations (
    id integer NOT NULL,
    "timestamp" bigint NOT NULL,
    name character varying NOT NULL
);
CREATE SEQUENCE public.migrations_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.migrations_id_seq OWNED BY public.migrations.id;
ALTER TABLE ONLY public.migrations ALTER COLUMN id SET DEFAULT nextval('public.migrations_id_seq'::regclass);
INSERT INTO public.migrations VALUES (1, 1700000000000, 'Tickets1700000000000');
INSERT INTO public.migrations VALUES (2, 1700000000001, 'Seats1700000000001');
INSERT INTO public.migrations VALUES (3, 1700000000002, 'Prices1700000000002');
SELECT pg_catalog.setval('public.migrations_id_seq', 3, true);
ALTER TABLE ONLY public.migrations
    ADD CONSTRAINT "PK_8c82d7f526340ab734260ea46be" PRIMARY KEY (id);
