-- Made by `make histories`, the mark of its failure by its documentation, with flyway-maven-plugin 11.8.2
-- == clean
CREATE TABLE public.flyway_schema_history (
    installed_rank integer NOT NULL,
    version character varying(50),
    description character varying(200) NOT NULL,
    type character varying(20) NOT NULL,
    script character varying(1000) NOT NULL,
    checksum integer,
    installed_by character varying(100) NOT NULL,
    installed_on timestamp without time zone DEFAULT now() NOT NULL,
    execution_time integer NOT NULL,
    success boolean NOT NULL
);
INSERT INTO public.flyway_schema_history VALUES (1, '1', 'tickets', 'SQL', 'V1__tickets.sql', 600675233, 'ticket', '2026-12-01 13:28:02.815824', 295, true);
INSERT INTO public.flyway_schema_history VALUES (2, '2', 'seats', 'SQL', 'V2__seats.sql', 163590836, 'ticket', '2026-12-01 13:28:05.17518', 106, true);
INSERT INTO public.flyway_schema_history VALUES (3, NULL, 'view', 'SQL', 'R__view.sql', -294427370, 'ticket', '2026-12-01 13:28:05.881084', 58, true);
ALTER TABLE ONLY public.flyway_schema_history
    ADD CONSTRAINT flyway_schema_history_pk PRIMARY KEY (installed_rank);
CREATE INDEX flyway_schema_history_s_idx ON public.flyway_schema_history USING btree (success);
-- == newer
CREATE TABLE public.flyway_schema_history (
    installed_rank integer NOT NULL,
    version character varying(50),
    description character varying(200) NOT NULL,
    type character varying(20) NOT NULL,
    script character varying(1000) NOT NULL,
    checksum integer,
    installed_by character varying(100) NOT NULL,
    installed_on timestamp without time zone DEFAULT now() NOT NULL,
    execution_time integer NOT NULL,
    success boolean NOT NULL
);
INSERT INTO public.flyway_schema_history VALUES (1, '1', 'tickets', 'SQL', 'V1__tickets.sql', 600675233, 'ticket', '2026-12-01 13:28:02.815824', 295, true);
INSERT INTO public.flyway_schema_history VALUES (2, '2', 'seats', 'SQL', 'V2__seats.sql', 163590836, 'ticket', '2026-12-01 13:28:05.17518', 106, true);
INSERT INTO public.flyway_schema_history VALUES (3, NULL, 'view', 'SQL', 'R__view.sql', -294427370, 'ticket', '2026-12-01 13:28:05.881084', 58, true);
INSERT INTO public.flyway_schema_history VALUES (4, '10', 'prices', 'SQL', 'V10__prices.sql', -1682862764, 'ticket', '2026-12-01 13:29:13.555374', 384, true);
ALTER TABLE ONLY public.flyway_schema_history
    ADD CONSTRAINT flyway_schema_history_pk PRIMARY KEY (installed_rank);
CREATE INDEX flyway_schema_history_s_idx ON public.flyway_schema_history USING btree (success);
-- == dirty
CREATE TABLE public.flyway_schema_history (
    installed_rank integer NOT NULL,
    version character varying(50),
    description character varying(200) NOT NULL,
    type character varying(20) NOT NULL,
    script character varying(1000) NOT NULL,
    checksum integer,
    installed_by character varying(100) NOT NULL,
    installed_on timestamp without time zone DEFAULT now() NOT NULL,
    execution_time integer NOT NULL,
    success boolean NOT NULL
);
INSERT INTO public.flyway_schema_history VALUES (1, '1', 'tickets', 'SQL', 'V1__tickets.sql', 600675233, 'ticket', '2026-12-01 13:28:02.815824', 295, true);
INSERT INTO public.flyway_schema_history VALUES (2, '2', 'seats', 'SQL', 'V2__seats.sql', 163590836, 'ticket', '2026-12-01 13:28:05.17518', 106, true);
INSERT INTO public.flyway_schema_history VALUES (3, NULL, 'view', 'SQL', 'R__view.sql', -294427370, 'ticket', '2026-12-01 13:28:05.881084', 58, true);
INSERT INTO public.flyway_schema_history VALUES (4, '10', 'prices', 'SQL', 'V10__prices.sql', -1682862764, 'ticket', '2026-12-01 13:29:13.555374', 384, true);
INSERT INTO public.flyway_schema_history VALUES (5, '11', 'fails', 'SQL', 'V11__fails.sql', 0, 'ticket', '2026-12-01 13:29:30', 0, false);
ALTER TABLE ONLY public.flyway_schema_history
    ADD CONSTRAINT flyway_schema_history_pk PRIMARY KEY (installed_rank);
CREATE INDEX flyway_schema_history_s_idx ON public.flyway_schema_history USING btree (success);
