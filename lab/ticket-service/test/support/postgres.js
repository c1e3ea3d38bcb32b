// A real PostgreSQL 15 of its own for one test file: temporary folder, free port, gone at the end.

import { execFile } from 'node:child_process';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const BIN = '/usr/lib/postgresql/15/bin';

export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Start a server; returns its URL and a stop function. */
export async function startPostgres() {
  const folder = await mkdtemp(join(tmpdir(), 'ticket-service-postgres-'));
  const asOwner = await ownership(folder);
  const data = join(folder, 'data');
  const port = await freePort();
  const fast = '-c fsync=off -c full_page_writes=off -c synchronous_commit=off';
  await asOwner('initdb', '-D', data, '-A', 'trust', '-U', 'postgres', '--no-sync', '-E', 'UTF8', '--locale=C.UTF-8');
  const options = `-c listen_addresses=127.0.0.1 -p ${port} -k ${folder} ${fast}`;
  await asOwner('pg_ctl', '-D', data, '-w', '-l', join(folder, 'log'), '-o', options, 'start');
  return {
    url: `postgresql://postgres@127.0.0.1:${port}/postgres`,
    async stop() {
      await asOwner('pg_ctl', '-D', data, '-m', 'immediate', 'stop');
      await rm(folder, { recursive: true });
    },
  };
}

/** PostgreSQL refuses to run as root: then its commands run as its own user, who owns the folder. */
async function ownership(folder) {
  if (userInfo().uid !== 0) {
    return (program, ...args) => run(join(BIN, program), args);
  }
  const { stdout } = await run('id', ['-u', 'postgres']);
  await chown(folder, Number(stdout), 0);
  return (program, ...args) => run('runuser', ['-u', 'postgres', '--', join(BIN, program), ...args], { cwd: folder });
}
