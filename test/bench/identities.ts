import { CLIENT_AUTH, mint, SERVER_AUTH, type TestCertificate } from '../support/certificates.ts';

/** What both ends of a login prove themselves with. */
export interface Identities {
  readonly authority: TestCertificate;
  readonly server: TestCertificate;
  readonly client: TestCertificate;
}

export async function mintIdentities(): Promise<Identities> {
  const authority = await mint({ commonName: 'Bench CA', authority: true });
  return {
    authority,
    server: await mint({ commonName: 'server', issuer: authority, usages: [SERVER_AUTH], sans: ['server'] }),
    client: await mint({ commonName: 'client', issuer: authority, usages: [CLIENT_AUTH] }),
  };
}
