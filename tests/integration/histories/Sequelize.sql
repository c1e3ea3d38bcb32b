-- Made by `make histories` with sequelize-cli 6.6.5
-- == clean
CREATE TABLE public."SequelizeMeta" (
    name character varying(255) NOT NULL
);
INSERT INTO public."SequelizeMeta" VALUES ('20240101000000-tickets.js');
INSERT INTO public."SequelizeMeta" VALUES ('20240102000000-seats.js');
ALTER TABLE ONLY public."SequelizeMeta"
    ADD CONSTRAINT "SequelizeMeta_pkey" PRIMARY KEY (name);
-- == newer
CREATE TABLE public."SequelizeMeta" (
    name character varying(255) NOT NULL
);
INSERT INTO public."SequelizeMeta" VALUES ('20240101000000-tickets.js');
INSERT INTO public."SequelizeMeta" VALUES ('20240102000000-seats.js');
INSERT INTO public."SequelizeMeta" VALUES ('20240103000000-prices.js');
ALTER TABLE ONLY public."SequelizeMeta"
    ADD CONSTRAINT "SequelizeMeta_pkey" PRIMARY KEY (name);
-- == dirty
CREATE TABLE public."SequelizeMeta" (
    name character varying(255) NOT NULL
);
INSERT INTO public."SequelizeMeta" VALUES ('20240101000000-tickets.js');
INSERT INTO public."SequelizeMeta" VALUES ('20240102000000-seats.js');
INSERT INTO public."SequelizeMeta" VALUES ('20240103000000-prices.js');
ALTER TABLE ONLY public."SequelizeMeta"
    ADD CONSTRAINT "SequelizeMeta_pkey" PRIMARY KEY (name);
