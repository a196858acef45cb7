/** Keycloak as a SAML provider of a whole gateway, set up as docs/saml.md says. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { FormBrowser, wordsOf } from '../../../demo/form-browser.ts';
import { startHarness, type Harness } from '../../harness.ts';
import { Browser } from '../../saml-browser.ts';
import { password } from './realm.ts';
import type { Keycloak } from './server.ts';

const entityId = 'urn:countersign:test';

/** The keys with which the realm signs, from its own description: several after a change. */
async function certificatesOf(keycloak: Keycloak): Promise<string[]> {
  const response = await fetch(`${keycloak.issuer}/protocol/saml/descriptor`);
  const found = [...(await response.text()).matchAll(/<ds:X509Certificate>([^<]+)</g)];
  assert.ok(found.length > 0);
  return found.map(([, text = '']) => {
    const lines = text.replace(/\s/g, '').match(/.{1,64}/g) ?? [];
    return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
  });
}

const hidden = (html: string, name: string): string => {
  const input = [...html.matchAll(/<input\b[^>]*>/gi)].map(([one]) => one).find((one) => one.includes(`"${name}"`));
  return /value="([^"]*)"/i.exec(input ?? '')?.[1] ?? '';
};

export function suite(keycloak: Keycloak): void {
  describe('Keycloak as a SAML provider', { timeout: 60_000 }, () => {
    let harness: Harness;
    let folder: string;

    before(async () => {
      folder = await mkdtemp(path.join(tmpdir(), 'countersign-keycloak-saml-'));
      const idpCertFiles: string[] = [];
      for (const [index, certificate] of (await certificatesOf(keycloak)).entries()) {
        const file = path.join(folder, `realm-${index}.crt`);
        await writeFile(file, certificate);
        idpCertFiles.push(file);
      }
      harness = await startHarness({
        schema: 'create table customers (id integer primary key, name text)',
        configure: (raw) => {
          const provider = {
            kind: 'saml',
            name: 'corp',
            entryPoint: `${keycloak.issuer}/protocol/saml`,
            idpIssuer: keycloak.issuer,
            idpCertFiles,
            spEntityId: entityId,
            groupsAttribute: 'groups',
            emailAttribute: 'email',
          };
          raw['identity'] = { ...(raw['identity'] as object), providers: [provider] };
        },
      });
    });
    after(async () => {
      await harness?.close();
      await rm(folder, { recursive: true, force: true });
    });

    /** Keycloak's form, then the form that its page would send by itself. @returns where the page goes on */
    const logIn = async (browser: Browser, username: string): Promise<string> => {
      const begun = await browser.ask('/auth/saml/corp/login?return=/inbox');
      const visitor = new FormBrowser(keycloak.url);
      const form = await visitor.open(new URL(begun.location));
      assert.match(form.html, /kc-form-login/, wordsOf(form));
      const { html } = await visitor.submit(form, 'kc-form-login', { username, password });
      const answer = { SAMLResponse: hidden(html, 'SAMLResponse'), RelayState: hidden(html, 'RelayState') };
      const answered = await browser.ask('/auth/saml/corp/acs', { form: answer, crossSite: true });
      if (!answered.location.includes('/finish?')) return answered.location;
      return (await browser.ask(answered.location)).location;
    };

    it('logs people in, with their groups and address', async () => {
      const browser = new Browser(harness.app.apiUrl);
      const end = await logIn(browser, 'dora');
      assert.equal(end, '/inbox', JSON.stringify(end === '/inbox' ? '' : browser.problem()));
      const { status, body } = await browser.api<{ id: string; email: string; groups: string[] }>('GET', '/whoami');
      assert.deepEqual(
        [status, body.id, body.email, body.groups],
        [200, 'corp:dora', 'dora@example.test', ['chunk-designers']],
      );
    });

    it('is refused without groups, of which it says nothing then', async () => {
      const browser = new Browser(harness.app.apiUrl);
      assert.equal(await logIn(browser, 'nora'), '/login?failed');
      assert.equal(browser.problem().code, 'groups_claim_missing');
    });
  });
}
