// A listening HTTP server, and how it ends without losing a request.

import { createServer } from 'node:http';

/** Start listening; rejects with a clear message where the port is taken. */
export function listen(app, port) {
  const server = createServer(app);
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(new Error(`cannot listen on port ${port}: ${error.message}`)));
    server.listen(port, () => resolve(server));
  });
}

/** Take no new connection, let the requests in flight end, then resolve. */
export function close(server) {
  return new Promise((resolve) => {
    server.close(resolve);
    server.closeIdleConnections();
  });
}
