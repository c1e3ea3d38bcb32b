-- Made by `make histories` with the lab's ticket-service
-- == clean
CREATE TABLE public.schema_migrations (
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
INSERT INTO public.schema_migrations VALUES ('001_create_tickets', '2026-12-01 13:11:09.965035+00');
INSERT INTO public.schema_migrations VALUES ('002_seed_events', '2026-12-01 13:11:09.977013+00');
INSERT INTO public.schema_migrations VALUES ('003_index_ticket_status', '2026-12-01 13:11:09.996813+00');
ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (name);
-- == newer
CREATE TABLE public.schema_migrations (
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
INSERT INTO public.schema_migrations VALUES ('001_create_tickets', '2026-12-01 13:11:09.965035+00');
INSERT INTO public.schema_migrations VALUES ('002_seed_events', '2026-12-01 13:11:09.977013+00');
INSERT INTO public.schema_migrations VALUES ('003_index_ticket_status', '2026-12-01 13:11:09.996813+00');
INSERT INTO public.schema_migrations VALUES ('004_add_seat_label', '2026-12-01 13:11:17.100767+00');
ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (name);
-- == dirty
CREATE TABLE public.schema_migrations (
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
INSERT INTO public.schema_migrations VALUES ('001_create_tickets', '2026-12-01 13:11:09.965035+00');
INSERT INTO public.schema_migrations VALUES ('002_seed_events', '2026-12-01 13:11:09.977013+00');
INSERT INTO public.schema_migrations VALUES ('003_index_ticket_status', '2026-12-01 13:11:09.996813+00');
INSERT INTO public.schema_migrations VALUES ('004_add_seat_label', '2026-12-01 13:11:17.100767+00');
ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (name);
