import PartnersIcon from '@mui/icons-material/Groups';
import type { ResourceProps } from 'react-admin';
import type { ChannelUser } from './partner-api.ts';
import { PartnerList } from './partner-list.tsx';
import { PartnerPage } from './partner-page.tsx';
import { Provision } from './provision.tsx';

/** react-admin's resource of channel users, which staff call partners. */
const partners: ResourceProps = {
  name: 'channel-users',
  options: { label: 'Partners' },
  icon: PartnersIcon,
  list: PartnerList,
  show: PartnerPage,
  create: Provision,
  recordRepresentation: ({ displayName }: ChannelUser) => displayName,
};

export default partners;
