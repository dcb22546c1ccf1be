// A TLS endpoint in a process of its own: TLS bytes at standard input and output. It forgets what it is told and says
// `done` on standard error; see tls-memory.test.ts.
import { TlsEndpoint, type TlsCredentials } from '../../dataplane/io/tls-endpoint.ts';
import { loadAddon } from '../../dataplane/io/load-addon.ts';

const credentials = JSON.parse(process.env['TLS_CREDENTIALS'] ?? '') as TlsCredentials; // Our test wrote it.
const endpoint = new TlsEndpoint({
  addon: loadAddon(),
  credentials,
  deliver: (input) => {
    if (input.kind === 'tlsOutput') process.stdout.write(input.bytes);
    if (input.kind !== 'tlsPlaintext') return;
    input.bytes.fill(0);
    setImmediate(() => process.stderr.write('done'));
  },
});
endpoint.open(1);
process.stdin.on('data', (bytes: Buffer) => endpoint.input(1, bytes));
