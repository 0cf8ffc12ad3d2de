"""HTTP/1.1 to the models' servers, as little of it as a request and a stream of an answer need."""
