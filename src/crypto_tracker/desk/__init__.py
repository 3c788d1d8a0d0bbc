"""What people look at: pages and reports. It reads results and never makes them."""
