import { List, type ResourceProps } from 'react-admin';

const partners: ResourceProps = { name: 'channel-users', list: List };
export default partners;
