//! What is answered under each URL.
