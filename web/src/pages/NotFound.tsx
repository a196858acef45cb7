import { Button } from '@mantine/core';
import { IconMapOff } from '@tabler/icons-react';
import { Link } from 'react-router';
import { Empty } from '../components/Empty.tsx';
import { Page } from '../components/Page.tsx';

export function NotFoundPage() {
  return (
    <Page title="Nothing here">
      <Empty icon={<IconMapOff />} title="There is no page at this address">
        <Button component={Link} to="/" mt="md">
          Go to the inbox
        </Button>
      </Empty>
    </Page>
  );
}
