import { Page } from '../components/Page.tsx';

export function PoliciesPage() {
  return <Page title="Policies">Not here yet: use countersign policies.</Page>;
}
