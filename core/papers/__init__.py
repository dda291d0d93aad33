"""The methods of the papers beside ours, under one protocol: a page of tables and pictures."""
