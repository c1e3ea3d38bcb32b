// Migrations: the SQL files in migrations/, what of them is applied, and moving up and down.
// Every move holds an advisory lock of its schema and is one transaction a migration.

import { readFile, readdir } from 'node:fs/promises';

import { quoteIdentifier } from './database.js';

const FOLDER = new URL('../migrations/', import.meta.url);
const LOCK = `pg_advisory_lock(hashtext('ticket-service migrations'), hashtext($1))`;
const UNLOCK = `pg_advisory_unlock(hashtext('ticket-service migrations'), hashtext($1))`;

/** Apply, in order, what is missing up to the migration `last`; returns the names applied. */
export async function migrateUp({ client, schema, last }) {
  const wanted = (await knownMigrations()).filter((name) => name <= last);
  return locked(client, schema, async () => {
    const done = new Set((await appliedMigrations(client)).map(({ name }) => name));
    const missing = wanted.filter((name) => !done.has(name));
    for (const name of missing) {
      await apply(client, `${name}.up.sql`, ['INSERT INTO schema_migrations (name) VALUES ($1)', [name]]);
    }
    return missing;
  });
}

/** Take back the newest `steps` applied migrations; returns their names. */
export async function migrateDown({ client, schema, steps }) {
  return locked(client, schema, async () => {
    const newest = (await appliedMigrations(client)).map(({ name }) => name).reverse().slice(0, steps);
    const known = new Set(await knownMigrations());
    const strange = newest.find((name) => !known.has(name));
    if (strange) {
      throw new Error(`no file ${strange}.down.sql in this release; roll back with the release that applied it`);
    }
    for (const name of newest) {
      await apply(client, `${name}.down.sql`, ['DELETE FROM schema_migrations WHERE name = $1', [name]]);
    }
    return newest;
  });
}

/** Every migration known or applied: `{name, appliedAt}`, appliedAt undefined where it is pending. */
export async function migrationStatus({ client }) {
  const found = await client.query(`SELECT to_regclass('schema_migrations') IS NOT NULL AS there`);
  const applied = found.rows[0].there ? await appliedMigrations(client) : [];
  const times = new Map(applied.map(({ name, applied_at: at }) => [name, at]));
  const names = new Set([...(await knownMigrations()), ...times.keys()]);
  return [...names].sort().map((name) => ({ name, appliedAt: times.get(name) }));
}

async function knownMigrations() {
  const files = await readdir(FOLDER);
  return files
    .filter((file) => file.endsWith('.up.sql'))
    .map((file) => file.slice(0, -'.up.sql'.length))
    .sort();
}

async function appliedMigrations(client) {
  return (await client.query('SELECT name, applied_at FROM schema_migrations ORDER BY name')).rows;
}

async function locked(client, schema, work) {
  await client.query(`SELECT ${LOCK}`, [schema]);
  try {
    await client.query(`CREATE SCHEMA IF NOT EXISTS ${quoteIdentifier(schema)}`);
    await client.query(
      `CREATE TABLE IF NOT EXISTS schema_migrations
         (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())`,
    );
    return await work();
  } finally {
    await client.query(`SELECT ${UNLOCK}`, [schema]);
  }
}

async function apply(client, file, [record, values]) {
  const sql = await readFile(new URL(file, FOLDER), 'utf8');
  await client.query('BEGIN');
  try {
    await client.query(sql);
    await client.query(record, values);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw new Error(`${file}: ${error.message}`, { cause: error });
  }
}
