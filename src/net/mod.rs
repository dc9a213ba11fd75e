//! The node's network: bridge, veth pairs, addresses, VXLAN overlay, and the service program in one
//! nftables table. Plain structs in, netlink out; nothing here knows the API.
