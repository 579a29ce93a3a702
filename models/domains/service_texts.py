"""What is said at the service desk of a shop: answer templates, and how people ask for them.

Written for this generator. Each template has a title and a text, as a desk would write them, and questions of two kinds, in words that
are mostly not the template's: those people ask from the first day on (`asked`), and those that are kept apart for the figures (`kept`).
Questions that no template answers stand below. A test holds the kinds apart and the words unlike.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Template:
    """An answer of the desk.

    Attributes
    ----------
    name : id of the item
    category : what it is about
    title, text : as the catalogue has them
    asked, kept : questions that it answers
    """

    name: str
    category: str
    title: str
    text: str
    asked: tuple[str, ...]
    kept: tuple[str, ...]


def _templates(category: str, *given: tuple[str, str, str, tuple[str, ...], tuple[str, ...]]) -> tuple[Template, ...]:
    return tuple(Template(name, category, title, text, asked, kept) for name, title, text, asked, kept in given)


TEMPLATES: tuple[Template, ...] = (
    *_templates(
        "shipping",
        (
            "track-parcel",
            "Tracking your parcel",
            "You can follow your parcel with the tracking number in the shipping confirmation. Open the link in that "
            "e-mail or look under My orders. The first scan shows within 24 hours after dispatch.",
            (
                "where is my order right now",
                "how do i see how far my package has come",
                "can i check on which day the stuff i bought arrives",
            ),
            (
                "any way to find out where my things are at the moment",
                "i want to know the whereabouts of my delivery",
                "did you send it yet and where is it",
            ),
        ),
        (
            "delivery-times",
            "Delivery times",
            "Standard delivery takes two to four working days within the country. Express orders that are placed before "
            "noon arrive on the next working day.",
            (
                "how long until it gets here",
                "how many days does it usually take to receive something",
                "what is the waiting time after i buy",
            ),
            (
                "if i pay today when will i have it",
                "is it quick or will i be waiting a fortnight",
                "roughly how soon would it reach me",
            ),
        ),
        (
            "late-parcel",
            "My parcel is late",
            "We are sorry that your parcel has not come in time. Please wait two more working days; carriers are "
            "sometimes delayed. After that we open an inquiry with the carrier and send a replacement or refund you.",
            (
                "it should have been here last week",
                "still nothing in the mail although you promised tuesday",
                "my order is overdue what now",
            ),
            (
                "the expected date has passed and nobody showed up",
                "i have been waiting way longer than you said",
                "why has nothing arrived even though it was due days ago",
            ),
        ),
        (
            "marked-delivered",
            "Parcel marked as delivered but not received",
            "If tracking says delivered and you have nothing, please ask your neighbours and look for a card of the "
            "carrier. Tell us within seven days: we start an investigation and you get a replacement.",
            (
                "it says it was dropped off but there is nothing at my door",
                "status claims i got it but i did not",
                "the driver says he handed it over yet i have no box",
            ),
            (
                "apparently someone signed for it and it was not me",
                "your site insists it reached me, my porch is empty",
                "supposedly it arrived yesterday, i never saw it",
            ),
        ),
        (
            "change-address",
            "Changing the delivery address",
            "You can change the address of an order until it is packed: My orders, Edit delivery. Once it is with the "
            "carrier, use the carrier's redirect service.",
            (
                "i typed the wrong street when ordering",
                "can you send it to my office instead of home",
                "i am moving, please ship to the new flat",
            ),
            (
                "the house number on my purchase is incorrect",
                "i need it to go to my parents' place rather than mine",
                "how do i fix where it is being sent",
            ),
        ),
        (
            "shipping-costs",
            "Shipping costs",
            "Shipping costs 3.90 within the country and is free from 50 on. Express is 9.90. The exact amount is shown in"
            " the basket before you pay.",
            ("how much is postage", "do i have to pay for delivery", "from what amount do you deliver for nothing"),
            (
                "is there a fee for sending it to me",
                "what do you charge to bring it to my house",
                "at which sum does the freight become gratis",
            ),
        ),
        (
            "ship-abroad",
            "Delivery to other countries",
            "We deliver to all countries of the European Union, Norway, Switzerland and the United Kingdom. Delivery "
            "takes four to eight working days; duties outside the EU are paid by the recipient.",
            (
                "do you send to switzerland",
                "i live overseas, can i still order",
                "can my friend in spain get something from your shop",
            ),
            (
                "is it possible to buy from you when i am based in norway",
                "would you post a gift to my aunt in london",
                "customs fees, who covers them when it goes to zurich",
            ),
        ),
        (
            "pickup-point",
            "Collecting at a pickup point",
            "Choose pickup point in the checkout and pick a shop nearby. Your parcel is kept there for ten days; bring "
            "your identity card and the code we send you.",
            (
                "can i collect it from a store near me",
                "nobody is home in the daytime, may i fetch it somewhere",
                "where do i get it myself and what must i bring",
            ),
            (
                "i would rather grab the box at a kiosk",
                "how long do they hold it for me at the corner shop",
                "could i go and get it instead of having it brought round",
            ),
        ),
        (
            "split-delivery",
            "Only part of my order arrived",
            "Large orders are sometimes sent in several parcels from different warehouses. Each has its own tracking "
            "number. The rest usually follows within three days, without further charge.",
            (
                "half of what i bought is missing from the box",
                "i got two of the three things",
                "one item was not in the package",
            ),
            (
                "there were four products on my receipt and only one turned up",
                "is the remainder coming separately",
                "some of the stuff wasn't inside",
            ),
        ),
        (
            "delivery-slot",
            "Choosing a day for delivery",
            "For furniture and large appliances you choose a day and a time slot of four hours in the checkout. You may "
            "move the appointment until two days before.",
            (
                "can the couch come on a saturday",
                "i need to be at home when the washing machine comes, which hour is it",
                "please reschedule the drop off of my fridge",
            ),
            (
                "could the wardrobe be brought in the evening",
                "i can't be there on thursday for the sofa, move it please",
                "may i pick the time when the men carry the bed up",
            ),
        ),
    ),
    *_templates(
        "returns",
        (
            "how-to-return",
            "How to return an item",
            "You may send back what you do not like within 30 days. Register the return under My orders, print the label "
            "and hand the parcel in at any post office. Returns are free.",
            (
                "i don't like it, how can i send it back",
                "what do i do with something i no longer want to keep",
                "where do i get the sticker for shipping it to you",
            ),
            (
                "the dress isn't my thing after all, you can have it again",
                "changed my mind, how does giving it back work",
                "steps for getting rid of an article i bought from you",
            ),
        ),
        (
            "return-period",
            "Return period",
            "You have 30 days from the day on which you received the goods. Purchases from 1 November to 24 December may "
            "be sent back until 31 January.",
            (
                "how long may i think about keeping it",
                "is it too late to bring back shoes i got three weeks ago",
                "until when can a christmas gift be given back",
            ),
            (
                "what is the deadline for undoing a purchase",
                "got it forty days ago, any chance left",
                "by which date must i have made up my mind",
            ),
        ),
        (
            "refund-time",
            "When do I get my money back",
            "We refund you within five working days after the return has reached our warehouse, by the way in which you "
            "paid. Banks may need two more days to show it.",
            (
                "i returned it last week and still see nothing on my account",
                "how long does reimbursement take",
                "when will the amount be credited",
            ),
            (
                "you have the shoes again, where is my cash",
                "still waiting to be paid back for what i mailed you",
                "how many days till the sum is on my card again",
            ),
        ),
        (
            "exchange-size",
            "Exchanging for another size or colour",
            "Register an exchange under My orders and choose the size or colour that you want. We send the new item as "
            "soon as the old one is on its way to us; there is nothing to pay.",
            (
                "the trousers are too small, can i get a bigger pair",
                "i would prefer the blue one",
                "swap my medium for a large please",
            ),
            (
                "these boots pinch, i need one number up",
                "could i have it in green rather than red",
                "it is too tight around the waist, what about a different fit",
            ),
        ),
        (
            "damaged-item",
            "The item arrived damaged",
            "We are sorry. Please send us a photo of the damage and of the packaging within 14 days. You choose between a"
            " replacement and a refund, and need not send it back below 20.",
            (
                "the vase came in pieces",
                "the screen was cracked when i opened the box",
                "there is a big dent in the toaster that just came",
            ),
            (
                "my new mug is shattered",
                "the lamp was smashed on arrival",
                "took it out of the carton and it has scratches all over",
            ),
        ),
        (
            "wrong-item",
            "I received the wrong item",
            "If something else is in the parcel than what you ordered, register it as wrong under My orders. We collect "
            "it at no cost and send the right one at once.",
            ("this is not what i bought", "i ordered a kettle and got a blender", "you mixed up my order with somebody else's"),
            (
                "there's a stranger's stuff in my box",
                "expected headphones, unpacked a phone case",
                "that's a different product from the one i picked",
            ),
        ),
        (
            "return-without-box",
            "Returning without the original packaging",
            "You may send an item back in any sturdy box. The original packaging is only needed for electronics with a seal.",
            (
                "i threw the carton away, can i still give it back",
                "does it have to be in the same box",
                "no wrapping left, is a return fine",
            ),
            (
                "the cardboard went into the recycling already, problem?",
                "do you accept it in a plain bag",
                "i ripped the wrapper open, will you still take it",
            ),
        ),
        (
            "not-returnable",
            "What cannot be returned",
            "Underwear, swimwear and cosmetics with an opened seal, engraved goods and downloaded software cannot be "
            "taken back, except when they are faulty.",
            (
                "can i return a bikini",
                "i opened the face cream but it smells bad, do you take it",
                "is a ring with a name on it exchangeable",
            ),
            (
                "may a used lipstick be sent in again",
                "are there products you refuse to accept back",
                "got panties in the wrong size, already unsealed",
            ),
        ),
        (
            "return-in-store",
            "Returning in a shop",
            "Bring the item and the order number to any of our shops. The money goes back to the means of payment of the "
            "order; cash is not paid out.",
            (
                "can i hand it back at your branch downtown",
                "is it ok to return an online order at the counter",
                "do your shops take back what i got on the web",
            ),
            (
                "i'd prefer to drop the jacket off at a local branch",
                "may i walk into an outlet with what i bought on the internet",
                "giving things back face to face, possible?",
            ),
        ),
        (
            "return-status",
            "Did my return arrive",
            "You see under My returns whether the warehouse has your parcel. Scanning takes up to three days after "
            "delivery; we send an e-mail then.",
            (
                "have you got the stuff that i mailed back",
                "i want to know whether what i sent in has reached you",
                "no confirmation for my return so far",
            ),
            (
                "did the shoes i sent you turn up",
                "how do i know you received what i gave the post office",
                "was my retour booked in yet",
            ),
        ),
    ),
    *_templates(
        "payment",
        (
            "payment-methods",
            "Ways to pay",
            "We accept credit and debit cards, PayPal, bank transfer, purchase on account and gift cards. Which of them "
            "are open to you is shown in the checkout.",
            ("can i use mastercard", "which options do i have to settle the bill", "do you take apple pay or cash"),
            ("is visa ok with you", "how may i give you the money", "would american express work"),
        ),
        (
            "card-declined",
            "My card was declined",
            "Please check number, expiry date and limit, and confirm the payment in your bank's app. If it still fails, "
            "your bank can tell why; you may choose another way to pay in the meantime.",
            ("the checkout refuses my visa", "payment does not go through", "it says transaction failed every time i try"),
            (
                "i keep getting an error when i attempt to pay",
                "your site won't take my mastercard number",
                "why was the charge rejected",
            ),
        ),
        (
            "charged-twice",
            "I was charged twice",
            "A second amount is mostly a reservation that your bank lifts within five working days. If both are booked, "
            "send us a copy of the statement and we refund one at once.",
            ("you took the money two times", "there are two identical bookings for one purchase", "double debit on my account"),
            (
                "my statement shows the same sum again",
                "why did i pay for it more than once",
                "you withdrew 40 and then another 40 for a single order",
            ),
        ),
        (
            "invoice-copy",
            "Getting an invoice",
            "The invoice is a PDF under My orders as soon as the goods are sent. For a company address, enter the name "
            "and tax number in your account before you order.",
            ("i need a receipt for my taxes", "where can i download the bill", "please send me the document for my accountant"),
            (
                "my employer wants proof of what i spent",
                "can't find the paper that says how much i paid",
                "i require a bill made out to my firm",
            ),
        ),
        (
            "pay-later",
            "Purchase on account",
            "With purchase on account you pay within 30 days after delivery by bank transfer. Klarna checks your credit; "
            "you find the reference in the invoice.",
            (
                "can i pay after i have got the goods",
                "i want to see it first and transfer the money next month",
                "buy now and settle at the end of the month",
            ),
            (
                "is it possible to receive first and pay afterwards",
                "my salary comes on the 30th, can the bill wait",
                "may i get credit for this",
            ),
        ),
        (
            "instalments",
            "Paying in instalments",
            "From 100 on you can pay in 3, 6 or 12 monthly instalments. Three are without interest; for more the yearly "
            "rate is 9.9 percent.",
            ("can i spread the price over several months", "is there financing for the laptop", "i can't afford it all at once"),
            (
                "could i split this into smaller monthly sums",
                "what interest do you take if i stretch it over a year",
                "pay it off bit by bit",
            ),
        ),
        (
            "gift-card-use",
            "Redeeming a gift card",
            "Enter the 16 digits of the gift card in the checkout under Add a voucher. What is left stays on the card; it"
            " is valid for three years.",
            (
                "where do i type in the voucher my mum gave me",
                "how do i spend the present card",
                "can i use the rest of my coupon card later",
            ),
            (
                "got a plastic card with a code for my birthday, now what",
                "does the leftover on the gift balance get lost",
                "applying the number from the certificate",
            ),
        ),
        (
            "discount-code",
            "My discount code does not work",
            "Codes are valid once for each customer, from the stated minimum and not for reduced goods. Check the date "
            "and type it without blanks.",
            ("the promo thing gets rejected", "why is the ten percent off not taken away", "coupon says invalid at the basket"),
            (
                "your newsletter promised a reduction but the price stays the same",
                "it won't accept SAVE10",
                "i entered the special offer letters and nothing happened",
            ),
        ),
        (
            "price-drop",
            "The price fell after I bought",
            "If the price of an item falls within 14 days after your purchase, we refund the difference on request. It "
            "does not hold for sales of other dealers.",
            (
                "i paid more last week than it costs today",
                "it is now cheaper than when i got it",
                "now it's on sale, do i get something back",
            ),
            (
                "three days after buying it the cost went down, unfair",
                "do you compensate me when it becomes less expensive",
                "saw my tv at a lower figure on your page now",
            ),
        ),
        (
            "payment-security",
            "Is paying here safe",
            "All payments are encrypted and handled by certified providers. We never see or store the full number of your"
            " card, and your bank asks you to confirm.",
            (
                "can somebody steal my card details on your site",
                "do you keep my credit card number",
                "i worry about fraud when i buy online",
            ),
            (
                "how do i know hackers won't get my bank data",
                "is it risky to type my card in here",
                "are my financial details protected with you",
            ),
        ),
    ),
    *_templates(
        "orders",
        (
            "cancel-order",
            "Cancelling an order",
            "You can cancel an order under My orders until it is packed, mostly within an hour. After that, refuse the "
            "parcel or send it back.",
            (
                "i don't want it any more, please stop it",
                "i bought it by mistake, undo that",
                "call off my purchase before it ships",
            ),
            (
                "clicked buy accidentally, get me out of it",
                "please don't send what i just ordered",
                "how do i revoke what i purchased ten minutes ago",
            ),
        ),
        (
            "change-order",
            "Adding to or changing an order",
            "An order cannot be changed once it is placed. Cancel it while it is not packed and place a new one; shipping"
            " is not charged twice on the same day.",
            (
                "can i still add a second shirt to it",
                "i forgot something, put it in the same package",
                "change the quantity from one to three",
            ),
            (
                "i'd like two rather than one of those",
                "is it possible to include another thing in yesterday's purchase",
                "swap an article before you ship",
            ),
        ),
        (
            "no-confirmation",
            "No order confirmation",
            "The confirmation comes within minutes. Look into the spam folder and check your e-mail address in the "
            "account. If the order stands under My orders, all is well.",
            (
                "i bought something but got no mail about it",
                "did my purchase go through, there was no message",
                "not sure if the order was placed",
            ),
            (
                "you never wrote me that you got my order",
                "my inbox is empty after i paid",
                "how can i be certain that it worked",
            ),
        ),
        (
            "out-of-stock",
            "When will an item be back in stock",
            "Press Tell me on the item's page and we write to you as soon as it is available. Most articles come back "
            "within two to three weeks.",
            ("the one i want is sold out", "do you get more of these sneakers", "will there be new supply of the red chair"),
            (
                "everything's gone in my size, any more coming",
                "let me know once i can buy it again",
                "it says unavailable, is that for good",
            ),
        ),
        (
            "preorder",
            "Preordering",
            "You can order announced articles before their release. We send them so that they arrive on the day; you are "
            "only charged when they leave the warehouse.",
            (
                "can i reserve the game that comes out in may",
                "when is my money taken for something not released yet",
                "i want the new phone on the first day",
            ),
            (
                "secure a copy of the book before it is launched",
                "do i get the console on release day",
                "buying something that isn't out yet",
            ),
        ),
        (
            "gift-wrap",
            "Gift wrapping and a message",
            "Tick gift in the basket: for 3.50 we wrap the item and add a card with your words. Prices do not show on the delivery note.",
            (
                "can you pack it nicely for a birthday",
                "i would like to include a greeting",
                "it's a present, leave out the bill",
            ),
            (
                "put a ribbon around it please",
                "will my friend see how much i paid for it",
                "adding some personal lines for grandma",
            ),
        ),
        (
            "order-by-phone",
            "Ordering by telephone",
            "You can order from Monday to Friday between 8 and 18 by telephone. Have the article numbers ready; you pay on account.",
            (
                "i do not have internet, can i call to buy",
                "my grandfather wants to order without a computer",
                "is there a hotline where i can purchase",
            ),
            (
                "may i tell somebody on the line what i'd like to have",
                "buying something over the phone",
                "do you take orders verbally",
            ),
        ),
        (
            "bulk-order",
            "Large quantities for companies",
            "From 20 pieces of one article on we make you an offer with a reduced price. Write to business sales with "
            "article, number and date.",
            (
                "we need fifty chairs for our office, any rebate",
                "discount if i take a hundred of them",
                "wholesale conditions please",
            ),
            (
                "our school would like thirty calculators, what's the price",
                "does it get cheaper if my firm buys plenty",
                "quote for a big amount of mugs",
            ),
        ),
        (
            "order-history",
            "Finding an old order",
            "All orders of the last ten years stand under My orders; choose the year at the top. Guest orders are found "
            "with number and postcode.",
            (
                "what did i buy two years ago",
                "i can't find a purchase from last summer",
                "look up which printer i got back then",
            ),
            (
                "list of everything i ever got from you",
                "i checked out without an account, where do i see it",
                "which shade of paint was it that i bought in 2021",
            ),
        ),
        (
            "minimum-order",
            "Minimum order value",
            "There is no minimum order. Below 10 we charge a handling fee of 2 in addition to shipping.",
            (
                "can i buy just one pencil",
                "is there a least amount that i have to spend",
                "why is there an extra small fee on my tiny order",
            ),
            (
                "i only need a single screw, is that allowed",
                "must my basket reach a certain sum",
                "two euros were put on top of my cheap purchase",
            ),
        ),
    ),
    *_templates(
        "account",
        (
            "reset-password",
            "Resetting your password",
            "Choose Forgot password on the login page and enter your e-mail address. The link in our message is valid for one hour.",
            ("i can't log in any more", "i don't remember my secret word", "locked out of my profile"),
            (
                "my login stopped working because i mixed up the code",
                "how do i get a fresh pass phrase",
                "sign in keeps saying wrong credentials",
            ),
        ),
        (
            "change-email",
            "Changing your e-mail address",
            "Under My account, Personal data, you enter the new address. We send a message to it; the change holds when "
            "you have opened its link.",
            ("i have a new mailbox, update it", "you write to my old address at gmail", "switch where you send messages"),
            (
                "my provider closed, so use another mail from now on",
                "i no longer have that inbox",
                "put my work mail there instead",
            ),
        ),
        (
            "delete-account",
            "Deleting your account",
            "Under My account, Privacy, choose Delete account. Open orders are finished first; invoices are kept as long "
            "as the law wants it.",
            ("i want to leave and be forgotten", "remove my profile completely", "close my membership with you"),
            ("please wipe everything about me", "unregister me", "how can i quit being a user of this shop"),
        ),
        (
            "newsletter-off",
            "Unsubscribing from the newsletter",
            "Every newsletter has a link Unsubscribe at its end. Or switch it off under My account, Messages. It may take a day.",
            ("stop sending me ads", "i get too many mails from you", "take me off the mailing list"),
            ("your promotions fill my inbox, enough", "no more weekly offers please", "how do i opt out of your emails"),
        ),
        (
            "data-copy",
            "A copy of my data",
            "You have a right to know what we store about you. Under My account, Privacy, ask for a copy; it comes within"
            " 30 days as a file.",
            ("what information do you have on me", "gdpr request", "i'd like to see everything you saved about my person"),
            (
                "show me which personal details you hold",
                "which facts about me are in your computers",
                "subject access request please",
            ),
        ),
        (
            "two-factor",
            "Signing in with a second factor",
            "Under My account, Security, you switch on a second step: a code from an app or by SMS. Keep the backup codes"
            " for the day on which you lose your phone.",
            (
                "how do i protect my login better",
                "the text with the number does not arrive",
                "lost my mobile and now i cannot enter the confirmation code",
            ),
            ("i want an additional check besides my password", "authenticator app setup", "new phone, the six digits are gone"),
        ),
        (
            "account-hacked",
            "Somebody else used my account",
            "Change your password at once, sign out all devices under Security and tell us the orders that are not yours."
            " We stop them and refund you.",
            ("there are purchases i never made", "i think i was hacked", "someone broke into my profile"),
            ("a stranger bought a tv in my name", "suspicious activity, that wasn't me", "an unknown person is logged in as me"),
        ),
        (
            "change-name",
            "Changing your name",
            "Names are changed under My account, Personal data. After a marriage nothing more is needed; the invoices of "
            "the past stay as they are.",
            (
                "i got married, my surname is different now",
                "my name is spelled wrong in your system",
                "correct the last name please",
            ),
            (
                "you have a typo in how i am called",
                "i go by another family name since the wedding",
                "i'm addressed as mister but i am a woman",
            ),
        ),
        (
            "guest-checkout",
            "Ordering without an account",
            "You need not register: choose Continue as a guest in the checkout. With an account you see your orders and pay faster.",
            ("do i have to sign up to buy", "i don't want to register", "can i shop anonymously"),
            ("is making a profile mandatory", "just let me pay without creating a login", "buy once and leave no data"),
        ),
        (
            "loyalty-points",
            "Collecting and spending points",
            "You collect a point for each whole unit that you spend. From 500 on you exchange them for a voucher of 5 "
            "under My points; they lapse after two years.",
            ("how does your bonus programme work", "what can i do with my stars", "when do my rewards expire"),
            (
                "i have 700 of these, what are they worth",
                "do frequent buyers get anything",
                "turn my collected rewards into money off",
            ),
        ),
    ),
    *_templates(
        "warranty",
        (
            "warranty-length",
            "How long the warranty lasts",
            "You have two years of legal warranty on everything, and the maker's guarantee where there is one. It begins "
            "on the day of delivery.",
            (
                "am i still covered after 18 months",
                "for which time do you guarantee the machine",
                "is my vacuum from 2022 still under guarantee",
            ),
            (
                "how many years are you liable for defects",
                "bought it a year and a half ago, do i have any rights",
                "when does the coverage run out",
            ),
        ),
        (
            "warranty-claim",
            "Making a warranty claim",
            "Describe the fault under My orders, Report a defect, and add a photo or film. We repair it, replace it, or "
            "refund you if neither is possible.",
            (
                "my mixer stopped working after three months",
                "the thing broke during normal use",
                "the zip gave up although it's nearly new",
            ),
            (
                "the heater is dead, i only had it since spring",
                "the coffee machine leaks, fix it",
                "my headphones have no sound on the left since yesterday",
            ),
        ),
        (
            "repair-time",
            "How long a repair takes",
            "Repairs take seven to ten working days from arrival in the workshop. You can follow each step under My "
            "repairs. There is no loan device.",
            (
                "when do i get my phone back from the workshop",
                "you have had my laptop for a week",
                "how is the mending of my camera going",
            ),
            (
                "how much longer must i be without my tablet",
                "is my watch fixed already",
                "do i receive a substitute while you work on it",
            ),
        ),
        (
            "spare-parts",
            "Spare parts",
            "Spare parts for our own brands are kept for ten years. Enter the model number, which stands on the type "
            "plate, under Service, Spare parts.",
            (
                "where can i buy a new lid for my pot",
                "i need a replacement filter",
                "the handle came off, do you sell only that",
            ),
            (
                "a single screw of the shelf is lost, can i get one",
                "got a new battery for an old drill of yours?",
                "the glass jug is broken, the machine is fine",
            ),
        ),
        (
            "manual-download",
            "Finding the manual",
            "Manuals are on the item's page under Downloads as PDF, also for articles that we no longer sell. Search for the model number.",
            ("i lost the booklet that was in the box", "how do i set this thing up", "are there instructions in english"),
            (
                "no leaflet came with my oven",
                "where's the guide that explains the buttons",
                "need the assembly directions for the cupboard",
            ),
        ),
        (
            "extended-warranty",
            "Extending the warranty",
            "For appliances you can buy three more years of protection within 30 days after delivery, for 12 percent of the price.",
            ("can i pay for longer cover", "is there insurance for the washing machine", "add years of protection to my tv"),
            (
                "do you offer an additional guarantee plan",
                "i want to be safe for five years rather than two",
                "care package for electronics, how much",
            ),
        ),
        (
            "water-damage",
            "Damage that the warranty does not cover",
            "Falls, water, wear and opened cases are not covered. We make you an offer for the repair, which costs "
            "nothing when you decline it.",
            (
                "i dropped my phone into the sink",
                "the dog chewed the cable, do you pay",
                "i unscrewed it myself, is that a problem",
            ),
            (
                "spilled coffee on the keyboard",
                "it fell down the stairs, whose cost is that",
                "the soles are worn thin, do i get new ones",
            ),
        ),
        (
            "software-update",
            "Updating the software of a device",
            "Connect the device to the network and choose Settings, System, Update. Keep it on power while it restarts; "
            "that takes ten minutes.",
            ("how do i get the latest firmware", "my smart tv is running an old version", "the speaker asks for an upgrade"),
            (
                "is there newer firmware for my router",
                "the app says that my watch is outdated",
                "install the current release on the set top box",
            ),
        ),
        (
            "old-device-recycling",
            "Taking back old devices",
            "We take your old appliance along when we bring a new one, for nothing; tell us in the checkout. Small "
            "devices and batteries may be left in any shop.",
            (
                "can you take my broken fridge with you",
                "where do i throw away used batteries",
                "what about my old washing machine",
            ),
            (
                "disposing of electronic rubbish",
                "the delivery men should haul off the previous stove",
                "i have empty cells and a dead phone, where to",
            ),
        ),
        (
            "installation",
            "Having an appliance installed",
            "For washing machines, dishwashers and stoves you can add installation in the checkout for 39. Stoves are "
            "connected by an electrician.",
            (
                "does somebody hook up the dishwasher for me",
                "i can't connect the cooker myself",
                "do your people mount the tv on the wall",
            ),
            ("who plugs in the new laundry machine", "is setting it up at home included", "i need a pro to wire the oven"),
        ),
    ),
    *_templates(
        "products",
        (
            "size-guide",
            "Finding the right size",
            "Each article has a size table: measure chest, waist and hip and compare. If you stand between two, take the larger one.",
            ("am i an m or an l", "how do i know which trousers fit me", "do the shoes run small"),
            ("my waist is 80 cm, what should i take", "which number corresponds to us 9", "does that coat come out big"),
        ),
        (
            "care-washing",
            "Washing and care",
            "The label inside says at how many degrees a piece may be washed. Wool and silk are washed by hand; do not tumble them.",
            ("can i put the sweater in the machine", "how do i clean this jacket", "is ironing allowed for this blouse"),
            (
                "my jumper shrank, how should i have treated it",
                "at what temperature does the shirt go in the laundry",
                "will the dryer ruin it",
            ),
        ),
        (
            "materials-allergy",
            "Materials and allergies",
            "What an article is made of stands under Details. Jewellery is free of nickel unless it says so; write to us "
            "about other substances.",
            ("is there latex in these gloves", "i react to nickel, are the earrings safe", "does it contain real leather"),
            (
                "my skin is sensitive, what is the fabric",
                "are there animal products in the bag",
                "what is this blanket made from",
            ),
        ),
        (
            "compatibility",
            "Will it fit my device",
            "Under Details we list the devices with which an accessory works. Enter your model in the box Does it fit.",
            ("does this charger work with my samsung", "which ink is for my printer", "is the case right for an iphone 13"),
            (
                "can i use that lens on a nikon",
                "would the cartridge go into an epson",
                "will this cable plug into my older laptop",
            ),
        ),
        (
            "organic-origin",
            "Where products come from",
            "The country of origin stands under Details. Our own brands are made in audited factories; the label Fair "
            "marks certified cotton.",
            ("where are your clothes produced", "is this made by children", "do you have anything sustainable"),
            (
                "in which nation was the rug woven",
                "is it ethical to buy your jeans",
                "are workers treated decently by your suppliers",
            ),
        ),
        (
            "product-review",
            "Writing a review",
            "Ten days after delivery we ask for your opinion. You can write one at any time on the item's page; we publish bad ones too.",
            ("i want to tell others what i think of it", "how do i rate what i bought", "why is my comment not online yet"),
            ("give five stars to the blender", "my feedback on the page vanished", "can i leave an opinion about the tent"),
        ),
        (
            "counterfeit",
            "Are the brands genuine",
            "We buy from the makers and their dealers only. If you doubt that an article is genuine, send us photos: we have it checked.",
            ("is this perfume a fake", "how do i know the bag is real", "the logo looks off, is it original"),
            ("i suspect the sneakers are a knock-off", "do you sell authentic watches", "imitation or the true thing?"),
        ),
        (
            "food-expiry",
            "Best before dates",
            "Food leaves our warehouse with at least 30 days to go. If something came past its date, you get the money "
            "back without a return.",
            ("the chocolate i got is already out of date", "how long does the coffee keep", "the tea expired last month"),
            (
                "are the biscuits fresh when they reach me",
                "the jar says it should be eaten by yesterday",
                "shelf life of your pasta",
            ),
        ),
        (
            "age-restriction",
            "Articles for adults only",
            "Alcohol and games from 18 on are given to adults only. The carrier asks for an identity card at the door.",
            ("can my son of 16 order wine", "why did the driver want to see my passport", "do i have to prove how old i am"),
            (
                "is a teenager allowed to buy that shooter",
                "will they check my date of birth when it's whisky",
                "my daughter could not accept the beer",
            ),
        ),
        (
            "product-advice",
            "Advice before you buy",
            "Our advisers help you choose by chat and telephone from 9 to 20. On many pages there is also a comparison of three articles.",
            ("i can't decide between two laptops", "which mattress is good for back pain", "can an expert recommend something"),
            (
                "help me choose a camera for travelling",
                "what's the difference between the cheap and the dear one",
                "i have no clue about bikes, who tells me",
            ),
        ),
    ),
    *_templates(
        "shop",
        (
            "opening-hours",
            "Opening hours of our shops",
            "Our shops are open from Monday to Saturday from 9 to 20, and closed on Sundays and holidays.",
            ("when do you close tonight", "are you there on sunday", "until what time can i come by"),
            ("may i drop in at eight in the morning", "is the branch shut at easter", "how late is somebody in the store"),
        ),
        (
            "find-store",
            "Finding a shop",
            "Under Shops you enter your town or postcode and see address, way and what is in stock there. There is "
            "parking at most of them.",
            ("where are you located", "is there a branch in munich", "closest outlet to my place"),
            (
                "i'd like to look at it in person, which address",
                "can i leave my car close to you",
                "any of you around the main station?",
            ),
        ),
        (
            "contact-human",
            "Talking to a person",
            "You reach us by chat and telephone from Monday to Saturday between 8 and 20, or by e-mail at any time; we "
            "answer within a day.",
            ("i want to speak with a real person", "what's your phone number", "get me an agent"),
            ("is there a human i can talk with", "stop the robot, connect me to staff", "how can i ring you up"),
        ),
        (
            "complaint",
            "Making a complaint",
            "We are sorry that something went wrong. Write to the complaints desk with your order number; a manager "
            "answers within three days.",
            ("i'm very unhappy with your service", "your employee was rude to me", "i demand to talk to your boss"),
            (
                "worst experience ever, who do i tell",
                "nobody helped me and i am furious",
                "where can i report bad treatment by your staff",
            ),
        ),
        (
            "job-application",
            "Working with us",
            "All open positions are under Careers. Apply there with your CV; you hear from us within two weeks.",
            ("are you hiring", "i'd like to become a cashier with you", "do you offer internships"),
            ("any vacancies in the warehouse", "how do i send you my resume", "can i do my apprenticeship in your company"),
        ),
        (
            "become-supplier",
            "Selling on our marketplace",
            "Dealers register under Partners with trade licence and tax number. We take 12 percent of each sale, and nothing each month.",
            (
                "can i offer my own products on your page",
                "i make candles and want you to list them",
                "how much commission do you take from merchants",
            ),
            (
                "my workshop wants to sell through you",
                "what cut do you keep when a third party trades here",
                "putting my handmade goods in your catalogue",
            ),
        ),
        (
            "app-problem",
            "The app does not work",
            "Close the app, update it in the store of your phone and start it again. If it still stops, remove and "
            "install it anew; your basket is kept.",
            (
                "your application crashes all the time",
                "the thing on my phone only shows a white page",
                "i can't open it on android since yesterday",
            ),
            (
                "it freezes on my iphone at the basket",
                "the program on my mobile shuts down by itself",
                "blank display when i tap your icon",
            ),
        ),
        (
            "website-cookies",
            "Cookies and tracking",
            "You choose at your first visit which cookies we may set, and change it under Cookies at the end of each "
            "page. Without them only the basket is kept.",
            ("i don't want to be followed on your site", "how do i turn off tracking", "the banner pops up each time"),
            ("do you spy on what i look at", "revoke my consent for analytics", "why do i see your ads everywhere i browse"),
        ),
        (
            "student-discount",
            "Reductions for students",
            "Students get 10 percent on everything but books. Have your enrolment confirmed once a year under My account, Student.",
            (
                "i study at the university, is it cheaper for me",
                "special price for people in education",
                "how do i prove that i am at college",
            ),
            (
                "being an undergrad, do i pay less",
                "my school id, is it good for a rebate",
                "any benefits when you're doing a degree",
            ),
        ),
        (
            "donation",
            "Sponsoring and donations",
            "We support clubs and schools in the region. Send us your project by the end of March; a jury of our staff chooses in May.",
            ("our football club looks for a sponsor", "would you give something for the school raffle", "do you help charities"),
            (
                "could your company fund our youth choir",
                "we are collecting for a children's hospice, will you join",
                "asking for support of a village festival",
            ),
        ),
    ),
)

UNANSWERED_ASKED: tuple[str, ...] = (
    "can you translate my contract into french",
    "what will the weather be like tomorrow",
    "my neighbour plays loud music at night, what can i do",
    "which train goes to hamburg at noon",
    "how do i bake sourdough bread",
    "is it normal that my baby sleeps so much",
    "do you rent out tents for a weekend",
    "i would like to book a table for four",
    "my electricity bill is too high, check it",
    "can i bring my dog on the flight",
    "who won the match yesterday",
    "i need a loan for a house",
    "how do i learn to play the guitar",
    "can you sharpen my kitchen knives",
    "please engrave a name into the watch i have from my father",
    "is your cafeteria open for guests and is there vegan food",
    "can i charge my electric car at your place",
    "do you offer sewing lessons",
    "i lost my umbrella in your shop on monday",
    "there was a wasp nest on your parking lot",
    "can you store my furniture for half a year",
    "i want to buy shares of your company",
    "a journalist here, may i interview your managing director",
    "your van scratched my car",
    "can i hire your hall for a wedding",
    "do you buy used clothes from people",
    "my child got lost in your shop last year and i want to thank the lady",
    "can you print my holiday photos on canvas",
    "how do i apply for a passport",
    "is there a doctor near the old town",
)
"""Questions of every day that no template answers."""

UNANSWERED_KEPT: tuple[str, ...] = (
    "could you turn this letter into italian",
    "will it rain at the weekend",
    "what should i do about a noisy flat above mine",
    "when does the last bus leave",
    "give me a recipe for lasagne",
    "my toddler does not want to eat, advice",
    "can i borrow a drill from you for a day",
    "reserve a seat for two tonight",
    "my gas provider raised the tariff, may they",
    "how much luggage is allowed on the plane",
    "what was the score of the final",
    "i am looking for a mortgage",
    "teach me to swim",
    "do you resole leather shoes of other makers",
    "i want initials put on grandma's old locket",
    "do you serve lunch and is it gluten free",
    "is there a plug for electric vehicles at your building",
    "do you give cooking classes",
    "i left my scarf in the fitting room",
    "the lift in your building is stuck",
    "may i leave a suitcase with you for some hours",
    "where can i see your annual report and dividends",
    "i write for a newspaper and have questions on your strategy",
    "one of your lorries blocks my driveway",
    "can we shoot a film in your store at night",
    "do you purchase second hand furniture",
    "i would like to praise the man who carried my bags",
    "can you make a poster from my picture",
    "my driving licence has run out, where do i renew it",
    "i have a tooth ache, whom should i see",
)
"""The same, kept apart for the figures."""
