// One JSON line an event on standard output; the level is upper case so that a grep for ERROR finds it.

export function log(level, message, fields = {}) {
  const line = { time: new Date().toISOString(), level, message, ...fields };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
