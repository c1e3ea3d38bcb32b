// Connections to PostgreSQL, all of them inside one schema, so that many deployments share a database.

import pg from 'pg';

export function quoteIdentifier(name) {
  return `"${name.replaceAll('"', '""')}"`;
}

function connectionOptions({ url, schema }) {
  return {
    connectionString: url,
    options: `-c search_path=${quoteIdentifier(schema)}`,
    connectionTimeoutMillis: 2000,
    application_name: 'ticket-service',
  };
}

export function createPool(database) {
  return new pg.Pool({
    ...connectionOptions(database),
    max: database.poolSize,
    idleTimeoutMillis: 10_000,
    query_timeout: 5000,
  });
}

export function createClient(database) {
  return new pg.Client(connectionOptions(database));
}

/** Run work in one transaction; whatever it throws rolls the transaction back. */
export async function inTransaction(pool, work) {
  const client = await pool.connect();
  let failure;
  try {
    await client.query('BEGIN');
    const result = await work(client);
    await client.query('COMMIT');
    return result;
  } catch (error) {
    // A connection that cannot even roll back must not go back to the pool.
    await client.query('ROLLBACK').catch((broken) => {
      failure = broken;
    });
    throw error;
  } finally {
    client.release(failure);
  }
}
