// Settings from the environment, read once and checked; a bad one names the variable and the remedy.

import { RELEASES, releaseNamed } from './releases.js';

export class ConfigError extends Error {}

const SCHEMA_PATTERN = /^[a-z_][a-z0-9_-]{0,62}$/;

export function readConfig(env) {
  const release = env.RELEASE || 'v1.4.0';
  if (!releaseNamed(release)) {
    throw new ConfigError(`RELEASE=${release} is unknown; use one of ${Object.keys(RELEASES).join(', ')}`);
  }
  return {
    release,
    serviceName: env.SERVICE_NAME || 'ticket-service',
    apiToken: required(env, 'API_TOKEN', 'set it to the bearer token that clients send'),
    newCheckout: flag(env, 'FEATURE_NEW_CHECKOUT'),
    port: integer(env, 'PORT', 8080),
    adminPort: integer(env, 'ADMIN_PORT', 9102),
    shutdownDelayMs: integer(env, 'SHUTDOWN_DELAY_MS', 2000),
    slowMs: integer(env, 'SLOW_MS', 80),
    leakMibPerSecond: amount(env, 'LEAK_MIB_PER_SECOND', 5),
    database: readDatabaseConfig(env),
  };
}

export function readDatabaseConfig(env) {
  const schema = env.DATABASE_SCHEMA || 'public';
  if (!SCHEMA_PATTERN.test(schema)) {
    throw new ConfigError(
      `DATABASE_SCHEMA=${schema} is not a schema name; use lower-case letters, digits, - and _, at most 63`,
    );
  }
  return {
    url: required(env, 'DATABASE_URL', 'set it to postgresql://USER:PASSWORD@HOST:PORT/DATABASE'),
    schema,
    poolSize: integer(env, 'DATABASE_POOL_SIZE', 4),
  };
}

function required(env, name, remedy) {
  if (!env[name]) {
    throw new ConfigError(`${name} is missing; ${remedy}`);
  }
  return env[name];
}

function flag(env, name) {
  const value = env[name] || 'false';
  if (value !== 'true' && value !== 'false') {
    throw new ConfigError(`${name}=${value} is not a flag; use true or false`);
  }
  return value === 'true';
}

function amount(env, name, fallback) {
  if (env[name] === undefined || env[name] === '') {
    return fallback;
  }
  const value = Number(env[name]);
  if (!Number.isFinite(value) || value < 0) {
    throw new ConfigError(`${name}=${env[name]} is not a number from 0 on`);
  }
  return value;
}

function integer(env, name, fallback) {
  if (env[name] === undefined || env[name] === '') {
    return fallback;
  }
  const value = Number(env[name]);
  if (!Number.isInteger(value) || value < 0) {
    throw new ConfigError(`${name}=${env[name]} is not a whole number from 0 on`);
  }
  return value;
}
