//! Starts the gateway, its upstream and its clients for the suite.
