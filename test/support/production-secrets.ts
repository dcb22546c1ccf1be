import { randomBytes } from 'node:crypto';
import { newTlsCryptV2ServerKey } from '../../operator/pki/wrap-keys.ts';
import { CLIENT_AUTH, mint, pem, revocationListDer, SERVER_AUTH, type TestCertificate } from './certificates.ts';
import { secret, users, yamlOf, type UserOptions } from './manifests.ts';

/** What examples/production names and does not hold, made as an administrator would make it. */
export interface ProductionSecrets {
  /** Secrets for a file beside the example's. */
  readonly yaml: string;
  readonly people: readonly (UserOptions & { readonly totpSecret: string })[];
  /** A client's certificate; `REVOKED` is the serial that is on the list. */
  readonly clientCertificate: (commonName: string, serial?: string) => Promise<TestCertificate>;
}

export const REVOKED = '0bad';

export async function productionSecrets(): Promise<ProductionSecrets> {
  const notAfter = new Date(Date.now() + 365 * 86_400_000);
  const authority = await mint({ commonName: 'Server CA', authority: true, notAfter });
  const clients = await mint({ commonName: 'Client CA', authority: true, notAfter });
  const server = await mint({
    commonName: 'vpn.example.com',
    sans: ['vpn.example.com'],
    issuer: authority,
    usages: [SERVER_AUTH],
    notAfter,
  });
  const people = [
    { name: 'erin', password: 'of erin', groups: ['Eng'], totpSecret: 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP' },
    { name: 'amy', password: 'of amy', groups: ['Admins'], totpSecret: 'KRUGS4ZANFZSAYJAKRUGS4ZANFZSAYJA' },
  ];
  // The provider itself is the example's.
  const [, staff = {}] = users('production-staff', people);
  const revoked = pem('X509 CRL', revocationListDer({ authority: clients, serials: [REVOKED] }));
  return {
    yaml: yamlOf(
      secret('production-server', {
        'tls.crt': server.certificatePem,
        'tls.key': server.keyPem,
        'ca.crt': authority.certificatePem,
      }),
      secret('production-clients', { 'ca.crt': clients.certificatePem }),
      secret('production-revoked', { 'crl.pem': revoked }),
      secret('production-control-wrap', { 'tls-crypt-v2-server.key': newTlsCryptV2ServerKey(randomBytes) }),
      { ...staff, metadata: { name: 'production-staff' } },
    ),
    people,
    clientCertificate: (commonName, serial) =>
      mint({
        commonName,
        issuer: clients,
        usages: [CLIENT_AUTH],
        notAfter,
        ...(serial === undefined ? {} : { serial }),
      }),
  };
}
