import { Page } from '../components/Page.tsx';

export function JobPage() {
  return <Page title="Job">Not here yet: use countersign job.</Page>;
}
