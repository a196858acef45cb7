import { Page } from '../components/Page.tsx';

export function SessionsPage() {
  return <Page title="Sessions">Not here yet: use countersign sessions.</Page>;
}
