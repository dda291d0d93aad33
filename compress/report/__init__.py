"""The report of size against quality: what every kilobyte and every millisecond buys."""
