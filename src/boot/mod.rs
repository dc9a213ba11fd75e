//! Flags, configuration file and environment become one validated configuration per component; roles and start order.
