-- Made by `make histories` with prisma 6.19.3
-- == clean
CREATE TABLE public._prisma_migrations (
    id character varying(36) NOT NULL,
    checksum character varying(64) NOT NULL,
    finished_at timestamp with time zone,
    migration_name character varying(255) NOT NULL,
    logs text,
    rolled_back_at timestamp with time zone,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    applied_steps_count integer DEFAULT 0 NOT NULL
);
INSERT INTO public._prisma_migrations VALUES ('a94e287c-bdfa-43e3-850c-9cbddc245f60', '2c7fd444aa0214445f731777a0053b6d4740f9eee5566ec2997e85177797bf63', '2026-12-01 13:25:54.025+00', '20240101000000_tickets', NULL, NULL, '2026-12-01 13:25:53.836+00', 1);
INSERT INTO public._prisma_migrations VALUES ('a49480cf-2d72-4b9b-967a-889c373be594', '71c5b84788ee3ce1bf054f97613540462eed75933d1f1d29276ea0d0845cd7cb', '2026-12-01 13:25:54.441+00', '20240102000000_seats', NULL, NULL, '2026-12-01 13:25:54.052+00', 1);
ALTER TABLE ONLY public._prisma_migrations
    ADD CONSTRAINT _prisma_migrations_pkey PRIMARY KEY (id);
-- == newer
CREATE TABLE public._prisma_migrations (
    id character varying(36) NOT NULL,
    checksum character varying(64) NOT NULL,
    finished_at timestamp with time zone,
    migration_name character varying(255) NOT NULL,
    logs text,
    rolled_back_at timestamp with time zone,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    applied_steps_count integer DEFAULT 0 NOT NULL
);
INSERT INTO public._prisma_migrations VALUES ('a94e287c-bdfa-43e3-850c-9cbddc245f60', '2c7fd444aa0214445f731777a0053b6d4740f9eee5566ec2997e85177797bf63', '2026-12-01 13:25:54.025+00', '20240101000000_tickets', NULL, NULL, '2026-12-01 13:25:53.836+00', 1);
INSERT INTO public._prisma_migrations VALUES ('a49480cf-2d72-4b9b-967a-889c373be594', '71c5b84788ee3ce1bf054f97613540462eed75933d1f1d29276ea0d0845cd7cb', '2026-12-01 13:25:54.441+00', '20240102000000_seats', NULL, NULL, '2026-12-01 13:25:54.052+00', 1);
INSERT INTO public._prisma_migrations VALUES ('46cae4d4-e7be-4180-960c-637e25aef1a8', 'cfcb267076589976e74924de3b11f9aab6791da99ba8b369083b28a71d74f396', '2026-12-01 13:26:35.792+00', '20240103000000_prices', NULL, NULL, '2026-12-01 13:26:35.449+00', 1);
ALTER TABLE ONLY public._prisma_migrations
    ADD CONSTRAINT _prisma_migrations_pkey PRIMARY KEY (id);
-- == dirty
CREATE TABLE public._prisma_migrations (
    id character varying(36) NOT NULL,
    checksum character varying(64) NOT NULL,
    finished_at timestamp with time zone,
    migration_name character varying(255) NOT NULL,
    logs text,
    rolled_back_at timestamp with time zone,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    applied_steps_count integer DEFAULT 0 NOT NULL
);
INSERT INTO public._prisma_migrations VALUES ('a94e287c-bdfa-43e3-850c-9cbddc245f60', '2c7fd444aa0214445f731777a0053b6d4740f9eee5566ec2997e85177797bf63', '2026-12-01 13:25:54.025+00', '20240101000000_tickets', NULL, NULL, '2026-12-01 13:25:53.836+00', 1);
INSERT INTO public._prisma_migrations VALUES ('a49480cf-2d72-4b9b-967a-889c373be594', '71c5b84788ee3ce1bf054f97613540462eed75933d1f1d29276ea0d0845cd7cb', '2026-12-01 13:25:54.441+00', '20240102000000_seats', NULL, NULL, '2026-12-01 13:25:54.052+00', 1);
INSERT INTO public._prisma_migrations VALUES ('46cae4d4-e7be-4180-960c-637e25aef1a8', 'cfcb267076589976e74924de3b11f9aab6791da99ba8b369083b28a71d74f396', '2026-12-01 13:26:35.792+00', '20240103000000_prices', NULL, NULL, '2026-12-01 13:26:35.449+00', 1);
INSERT INTO public._prisma_migrations VALUES ('99b1370e-e4ca-45f2-9aff-68dbeb6502d9', '57807a8237d409dd26572422350adf53c1e66058e58d3dd6381ecee0a373b6a7', NULL, '20240104000000_fails', 'external connector error
Error querying the database: ERROR: division by zero
   0: sql_schema_connector::apply_migration::apply_script
           with migration_name="20240104000000_fails"
             at schema-engine/connectors/sql-schema-connector/src/apply_migration.rs:113
   1: schema_commands::commands::apply_migrations::Applying migration
           with migration_name="20240104000000_fails"
             at schema-engine/commands/src/commands/apply_migrations.rs:95
   2: schema_engine_wasm::wasm::engine::ApplyMigrations
             at schema-engine/schema-engine-wasm/src/wasm/engine.rs:167', NULL, '2026-12-01 13:27:15.317+00', 0);
ALTER TABLE ONLY public._prisma_migrations
    ADD CONSTRAINT _prisma_migrations_pkey PRIMARY KEY (id);
