// The command behind `npm run migrate`, `migrate:status` and `migrate:rollback -- --step=N`.

import { parseArgs } from 'node:util';

import { ConfigError, readDatabaseConfig } from './config.js';
import { createClient } from './database.js';
import { migrateDown, migrateUp, migrationStatus } from './migrations.js';
import { releaseNamed } from './releases.js';

const COMMANDS = {
  async up(context) {
    const release = releaseNamed(process.env.RELEASE || 'v1.4.0');
    if (!release) {
      throw new ConfigError(`RELEASE=${process.env.RELEASE} is unknown`);
    }
    report('applied', await migrateUp({ ...context, last: release.lastMigration }));
  },

  async status(context) {
    for (const { name, appliedAt } of await migrationStatus(context)) {
      console.log(`${appliedAt ? appliedAt.toISOString() : 'pending'.padEnd(24)}  ${name}`);
    }
  },

  async rollback(context, { step }) {
    const steps = Number(step);
    if (!Number.isInteger(steps) || steps < 1) {
      throw new ConfigError(`--step=${step} is not a whole number from 1 on`);
    }
    report('rolled back', await migrateDown({ ...context, steps }));
  },
};

function report(verb, names) {
  console.log(names.length === 0 ? `nothing to do: no migration ${verb}` : `${verb}: ${names.join(', ')}`);
}

async function main() {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { step: { type: 'string', default: '1' } },
  });
  const command = COMMANDS[positionals[0]];
  if (!command || positionals.length !== 1) {
    throw new ConfigError(`say one of ${Object.keys(COMMANDS).join(', ')}, and for rollback --step=N`);
  }
  const database = readDatabaseConfig(process.env);
  const client = createClient(database);
  await client.connect();
  try {
    await command({ client, schema: database.schema }, values);
  } finally {
    await client.end();
  }
}

main().catch((error) => {
  console.error(`migrate: ${error.message || error.code || error}`);
  process.exitCode = 1;
});
