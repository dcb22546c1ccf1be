// Runs a tunnel in a network namespace of its own until told how to end: `throw` or `exit`.
import { TunnelLab } from './tunnel-lab.ts';

class DeliberateError extends Error {
  override readonly name = 'DeliberateError';
}

await TunnelLab.start({ threads: 2, transport: 'udp' });
process.stdout.write('running\n');
setTimeout(() => {
  if (process.argv[2] === 'exit') process.exit(7);
  throw new DeliberateError('the control thread fails');
}, 100);
