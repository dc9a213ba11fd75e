//! The service proxy: from Services and EndpointSlices to the service program.
