import type { CountersignError } from '../errors.ts';
import type { NoticeFields } from '../wire/postgres/backend.ts';

/** An expected error as the fields of an ErrorResponse: what, which rule, what to do next. */
export function errorFields(error: CountersignError, severity: 'ERROR' | 'FATAL'): NoticeFields {
  const fields: NoticeFields = { S: severity, V: severity, C: error.sqlstate, M: error.message };
  if (error.detail !== undefined) fields['D'] = error.detail;
  if (error.hint !== undefined) fields['H'] = error.hint;
  if (error.position !== undefined) fields['P'] = String(error.position);
  return fields;
}
