// The service as a process of its own, just as a container starts it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { freePort } from './postgres.js';

const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url));
export const TOKEN = 'test-token';

const STARTS = 5;
const WAIT_MS = 120_000;
const running = new Set();

// What a test that failed has left running would keep the whole run waiting for ever.
after(() => running.forEach((child) => child.kill('SIGKILL')));

/** Start a release; `env` adds to the environment. Waits for the line that says it is started. */
export async function startService(databaseUrl, env = {}) {
  for (let attempt = 1; ; attempt += 1) {
    const service = await start(databaseUrl, env);
    // A port that was free a moment ago may have been taken by a test that runs beside this one.
    if (!service.lostItsPort() || attempt === STARTS) {
      return service;
    }
  }
}

async function start(databaseUrl, env) {
  const port = await freePort();
  const adminPort = await freePort();
  const child = spawn(process.execPath, [MAIN], {
    env: {
      PATH: process.env.PATH,
      DATABASE_URL: databaseUrl,
      API_TOKEN: TOKEN,
      PORT: String(port),
      ADMIN_PORT: String(adminPort),
      SHUTDOWN_DELAY_MS: '100',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors += chunk;
    process.stderr.write(chunk);
  });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const exited = once(child, 'exit').then(([code]) => {
    running.delete(child);
    return code;
  });
  const api = `http://127.0.0.1:${port}`;
  const admin = `http://127.0.0.1:${adminPort}`;

  const service = {
    api,
    admin,
    port,
    exited,
    output: () => output,
    lostItsPort: () => child.exitCode !== null && (output + errors).includes('EADDRINUSE'),
    terminate: () => child.kill('SIGTERM'),
    async stop() {
      child.kill('SIGTERM');
      return exited;
    },
    call: (method, path, body) => call(api, { method, path, body }),
    metrics: async () => (await fetch(`${admin}/metrics`)).text(),
  };
  await until(() => output.includes('"message":"started"') || child.exitCode !== null, 'the service to start');
  return service;
}

async function call(api, { method, path, body }) {
  const response = await fetch(`${api}${path}`, {
    method,
    headers: { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json', Connection: 'close' },
    body: body && JSON.stringify(body),
  });
  return { status: response.status, body: await response.json() };
}

/** Wait for a condition, looking every 20 ms for at most two minutes. */
export async function until(condition, what) {
  const end = Date.now() + WAIT_MS;
  while (!(await condition())) {
    if (Date.now() > end) {
      throw new Error(`waited in vain for ${what}`);
    }
    await sleep(20);
  }
}

/** The value of one series in a text exposition; labels in any order. */
export function sample(text, name, labels = {}) {
  const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
  const line = text
    .split('\n')
    .find((each) => (each.startsWith(`${name}{`) || each.startsWith(`${name} `)) && wanted.every((w) => each.includes(w)));
  return line && Number(line.slice(line.lastIndexOf(' ')));
}

export const ORDER = { eventId: 'test-event-id', tickets: [{ ticketTypeId: 'test-type', quantity: 1 }] };
