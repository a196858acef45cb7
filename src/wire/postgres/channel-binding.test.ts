import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { describe, test } from 'node:test';
import { generate } from 'selfsigned';
import { tlsServerEndPoint } from './channel-binding.ts';

/** Made with OpenSSL: signed by RSASSA-PSS with SHA-384, and by Ed25519. */
const pss = Buffer.from(
  'MIICXDCCAZGgAwIBAgIUNB2w6OVC+06MdvQJefrBKXW+rjgwQQYJKoZIhvcNAQEKMDSgDzANBglghkgBZQMEAgIFAKEcMBoGCSqGSIb3DQEBCDANBglghkgBZQMEAgIFAKIDAgFOMAwxCjAIBgNVBAMMAXgwHhcNMjYxMTI0MjAwNjE2WhcNMzYxMTIxMjAwNjE2WjAMMQowCAYDVQQDDAF4MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC63Y8c3IFKFXM22B4IlBAxBr6UUHxh28EW9GIQlRWPTC7N+my9JmFniW2yjuyJqp1Iyd8Nc9SY0iFCExMQSAZuq5ATxdPu5rv1U7Fu1JY5sU7aSQlfaUiGSUAO4BnJ8azQrTFSAh/2+c2jTF1YryI9BTbMt2Tsolp1CU6av8/+swIDAQABo1MwUTAdBgNVHQ4EFgQUgCGrIbljd3L/aHhd0pAS8Y909m0wHwYDVR0jBBgwFoAUgCGrIbljd3L/aHhd0pAS8Y909m0wDwYDVR0TAQH/BAUwAwEB/zBBBgkqhkiG9w0BAQowNKAPMA0GCWCGSAFlAwQCAgUAoRwwGgYJKoZIhvcNAQEIMA0GCWCGSAFlAwQCAgUAogMCAU4DgYEAeDqoG268wscSiqoFthiWXZXA6qig9Is20Vyur/bEdX0kKhUnvW3o3ZQGxnt3yZ2jnzIRviLlUU4k6Wwx2FmId4xjmx6I/DeOdue7rDI+C45TmpZM3yXJfOVKL9igx4fJ1rqx/pnzHky87l+Sn4njahZn7fgF+bkdrEnIUDwOygk=',
  'base64',
);
const ed25519 = Buffer.from(
  'MIIBLDCB36ADAgECAhRYCf1Seh5ox436aIsEMKzjRPZRGzAFBgMrZXAwDDEKMAgGA1UEAwwBeDAeFw0yNjExMjQyMDA2MTZaFw0zNjExMjEyMDA2MTZaMAwxCjAIBgNVBAMMAXgwKjAFBgMrZXADIQBR/VNlvXvGgMBYAef8Y3Mk0uLkrrDecK2Jc0PApGVqeaNTMFEwHQYDVR0OBBYEFD6ECkzR0dSol3JG6ngNpryu6n1zMB8GA1UdIwQYMBaAFD6ECkzR0dSol3JG6ngNpryu6n1zMA8GA1UdEwEB/wQFMAMBAf8wBQYDK2VwA0EAyUaeKK8JUVpRNRAz//P0NdE+nb5mEBis7cszUAKrxvIyPI9a3LQqUAkrKkPLWy9ZwMqqarbc+W7Pc/k4rcZHDA==',
  'base64',
);

async function certificate(keyType: 'rsa' | 'ec', algorithm: string): Promise<Buffer> {
  const made = await generate([{ name: 'commonName', value: 'x' }], { keyType, algorithm });
  return new X509Certificate(made.cert).raw;
}

void describe('tls-server-end-point', () => {
  for (const [keyType, algorithm, hash] of [
    ['rsa', 'sha1', 'sha256'],
    ['rsa', 'sha256', 'sha256'],
    ['rsa', 'sha384', 'sha384'],
    ['rsa', 'sha512', 'sha512'],
    ['ec', 'sha256', 'sha256'],
    ['ec', 'sha384', 'sha384'],
    ['ec', 'sha512', 'sha512'],
  ] as const) {
    void test(`is the ${hash} of a certificate signed by ${keyType} with ${algorithm}`, async () => {
      const der = await certificate(keyType, algorithm);
      assert.deepEqual(tlsServerEndPoint(der), createHash(hash).update(der).digest());
    });
  }

  void test('takes the hash of RSASSA-PSS from its parameters', () => {
    assert.deepEqual(tlsServerEndPoint(pss), createHash('sha384').update(pss).digest());
  });

  void test('is not defined for Ed25519, nor for what is no certificate', () => {
    assert.equal(tlsServerEndPoint(ed25519), undefined);
    assert.equal(tlsServerEndPoint(Buffer.alloc(0)), undefined);
    for (let size = 0; size < 400; size += 7) assert.equal(tlsServerEndPoint(pss.subarray(0, size)), undefined);
    assert.equal(tlsServerEndPoint(Buffer.from('30803080', 'hex')), undefined);
    assert.equal(tlsServerEndPoint(Buffer.from('3084ffffffff', 'hex')), undefined);
  });
});
