import { Page } from '../components/Page.tsx';

export function AccessPage() {
  return <Page title="Access">Not here yet: use countersign access.</Page>;
}
