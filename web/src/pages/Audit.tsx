import { Page } from '../components/Page.tsx';

export function AuditPage() {
  return <Page title="Audit">Not here yet: use countersign audit.</Page>;
}
