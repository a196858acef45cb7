/**
 * The realm that the suites play in: people, groups and clients as an administrator would set them up by docs/identity.md
 * and docs/saml.md. Everything in it is for this machine and this hour.
 */

export const realmName = 'data';
export const password = 'a-password-of-the-test';
export const webSecret = 'web-secret-of-the-test';
export const serviceSecret = 'etl-secret-of-the-test';
/** The subject of the tokens of the client `etl`. */
export const serviceSubject = '4b9f3c1e-0000-4000-8000-00000000e71a';

/** By their user name; the subject is another text. */
export const keycloakPeople: Readonly<Record<string, readonly string[]>> = {
  dora: ['chunk-designers'],
  emil: ['chunk-executors', 'staff'],
  aino: ['auditors'],
  nora: [],
};

const everywhere = {
  'access.token.claim': 'true',
  'id.token.claim': 'true',
  'userinfo.token.claim': 'true',
  'introspection.token.claim': 'true',
};

/** The claim `groups`: names without the path, wherever claims are told. */
const groupsMapper = {
  name: 'groups',
  protocol: 'openid-connect',
  protocolMapper: 'oidc-group-membership-mapper',
  config: { 'claim.name': 'groups', 'full.path': 'false', ...everywhere },
};

/** Puts `countersign` into `aud` of access tokens. */
const audienceMapper = {
  name: 'audience',
  protocol: 'openid-connect',
  protocolMapper: 'oidc-audience-mapper',
  config: {
    'included.custom.audience': 'countersign',
    'access.token.claim': 'true',
    'introspection.token.claim': 'true',
  },
};

const oidcClient = { protocol: 'openid-connect', enabled: true, protocolMappers: [groupsMapper, audienceMapper] };

/** @param saml more of the SAML client, as its suite needs it: its id (our entity id), redirect addresses, attributes */
export function realmOf(saml: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const groups = [...new Set(Object.values(keycloakPeople).flat())];
  return {
    realm: realmName,
    enabled: true,
    sslRequired: 'none',
    // A client asks every second whether its code was entered.
    attributes: { oauth2DevicePollingInterval: '1' },
    groups: groups.map((name) => ({ name })),
    users: [
      ...Object.entries(keycloakPeople).map(([username, names]) => ({
        username,
        enabled: true,
        email: `${username}@example.test`,
        emailVerified: true,
        firstName: username,
        lastName: 'Tester',
        credentials: [{ type: 'password', value: password, temporary: false }],
        groups: names.map((name) => `/${name}`),
      })),
      {
        id: serviceSubject,
        username: 'service-account-etl',
        enabled: true,
        serviceAccountClientId: 'etl',
        groups: ['/chunk-executors'],
      },
    ],
    clients: [
      {
        ...oidcClient,
        clientId: 'countersign-cli',
        publicClient: true,
        standardFlowEnabled: false,
        attributes: { 'oauth2.device.authorization.grant.enabled': 'true' },
      },
      {
        ...oidcClient,
        clientId: 'countersign-web',
        publicClient: false,
        secret: webSecret,
        standardFlowEnabled: true,
        redirectUris: ['http://127.0.0.1:*'],
        attributes: { 'pkce.code.challenge.method': 'S256' },
      },
      {
        ...oidcClient,
        clientId: 'etl',
        publicClient: false,
        secret: serviceSecret,
        standardFlowEnabled: false,
        serviceAccountsEnabled: true,
      },
      samlClient(saml),
    ],
  };
}

/** Keycloak as a SAML provider: assertions signed, groups as the attribute `groups`, a persistent name. */
function samlClient(more: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return {
    clientId: 'urn:countersign:test',
    protocol: 'saml',
    enabled: true,
    frontchannelLogout: true,
    redirectUris: ['http://127.0.0.1:*'],
    attributes: {
      'saml.assertion.signature': 'true',
      'saml.server.signature': 'true',
      'saml.client.signature': 'false',
      'saml.signature.algorithm': 'RSA_SHA256',
      'saml.authnstatement': 'true',
      'saml.force.post.binding': 'true',
      saml_name_id_format: 'username',
      saml_force_name_id_format: 'true',
    },
    protocolMappers: [
      {
        name: 'groups',
        protocol: 'saml',
        protocolMapper: 'saml-group-membership-mapper',
        config: {
          'attribute.name': 'groups',
          'attribute.nameformat': 'Basic',
          single: 'false',
          'full.path': 'false',
        },
      },
      {
        name: 'email',
        protocol: 'saml',
        protocolMapper: 'saml-user-property-mapper',
        config: { 'user.attribute': 'email', 'attribute.name': 'email', 'attribute.nameformat': 'Basic' },
      },
    ],
    ...more,
  };
}
