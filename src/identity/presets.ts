/**
 * What is known beforehand about the providers that many people have: values only. A setting that is written in the
 * configuration wins over the preset's. How to set each provider up is in docs/identity.md.
 */

export interface ProviderPreset {
  /** How the issuer is written there. */
  readonly issuer: string;
  readonly groupsClaim: string;
  readonly algorithms: readonly string[];
  /** Of the log-in of the page. */
  readonly scopes: readonly string[];
  /** More parameters of the authorization request. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly freshGroups: 'userinfo' | 'introspection' | 'token';
  readonly note: string;
}

export type PresetName = 'okta' | 'entra' | 'keycloak' | 'google';

const scopes = ['openid', 'profile', 'email', 'offline_access'] as const;

export const presets: Readonly<Record<PresetName, ProviderPreset>> = {
  okta: {
    issuer: 'https://TENANT.okta.com/oauth2/AUTHORIZATION-SERVER',
    groupsClaim: 'groups',
    algorithms: ['RS256'],
    scopes: [...scopes],
    parameters: {},
    freshGroups: 'userinfo',
    note: 'a custom authorization server: access tokens of the organization server are for Okta only',
  },
  entra: {
    issuer: 'https://login.microsoftonline.com/TENANT-ID/v2.0',
    groupsClaim: 'roles',
    algorithms: ['RS256'],
    scopes: [...scopes],
    parameters: {},
    freshGroups: 'token',
    note: 'application roles instead of groups, of which a token holds too few; userinfo has neither',
  },
  keycloak: {
    issuer: 'https://HOST/realms/REALM',
    groupsClaim: 'groups',
    algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'],
    scopes: ['openid', 'profile', 'email'],
    parameters: {},
    freshGroups: 'userinfo',
    note: 'a group membership mapper with full path off, in the access token, the ID token and userinfo',
  },
  google: {
    issuer: 'https://accounts.google.com',
    groupsClaim: 'groups',
    algorithms: ['RS256'],
    scopes: ['openid', 'profile', 'email'],
    parameters: { access_type: 'offline', prompt: 'consent' },
    freshGroups: 'token',
    note: 'Google has no groups claim: log-ins are refused where nothing else (SCIM) keeps the groups; SAML tells them',
  },
};

/** Used where there is no preset. */
export const noPreset: Omit<ProviderPreset, 'issuer' | 'note' | 'freshGroups'> = {
  groupsClaim: 'groups',
  algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'],
  scopes: [...scopes],
  parameters: {},
};
