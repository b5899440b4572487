def map():pass
def imap():pass
